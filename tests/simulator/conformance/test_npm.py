"""Alpaca's two npm clients, unmodified: every REST call of either line that the exchange serves."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "npm"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alpha-trader" / "npm-judges"
# Methods of the clients that ask for what is not simulated, or that are no request.
NOT_SERVED = re.compile(
    r"[Oo]ption|[Cc]rypto|Watchlist|WatchList|[Aa]uction|CorporateAction|endRequest|ttpRequest|newTimeframe"
)
DAY = {"symbols": "AAPL,MSFT", "start": "2024-01-02", "limit": 1000}
# Methods that another name of the table calls.
SAME = {"4": {"postOrder": "market"}, "3": {}}


@pytest.fixture(scope="session")
def packages():
    """A directory with both clients, installed once as the lock file says; outside the source tree."""
    version = (
        subprocess.run(["node", "--version"], capture_output=True, text=True, check=False) if shutil.which("npm") else None
    )
    if version is None or int(re.match(r"v(\d+)", version.stdout or "v0")[1]) < 20:
        pytest.skip("Alpaca's npm clients need Node.js 20 or later with npm")
    target = CACHE / hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as made:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, made)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            installed = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=200, check=False)
            if installed.returncode:
                pytest.skip(f"Alpaca's npm clients could not be installed: {installed.stderr.strip()[-300:]}")
            if not target.exists():
                shutil.copytree(made, target)
    return target


def run(packages, script, *arguments):
    """The JSON that a script of this directory prints, run where the packages are."""
    shutil.copy(HERE / script, packages / script)
    done = subprocess.run(["node", script, *arguments], cwd=packages, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("line", ["4", "3"])
def test_every_call_is_answered(packages, exchange, line):
    answer = run(packages, f"rest{line}.mjs", exchange.url)
    results = answer["results"]
    assert {name: result["error"] for name, result in results.items() if not result["ok"] and name != "refused"} == {}
    forgotten = {
        name for name in answer["methods"] if not NOT_SERVED.search(name) and SAME[line].get(name, name) not in results
    }
    assert forgotten == set()
    assert results["refused"]["status"] == 403
    values = {name: result.get("value") for name, result in results.items()}
    empty = {name for name, value in values.items() if value in ({}, []) and results[name]["ok"]}
    assert {name for name in empty if not name.startswith("deleteAllO")} <= {"closeAllPositions"}
    if line == "4":
        assert values["getAccount"]["status"] == "ACTIVE"
        assert values["market"]["clientOrderId"] == "first"
        assert len(values["bracket"]["legs"]) == 2
        assert len(values["stockBars"]["bars"]["AAPL"]) == 31  # both ends included
        assert len(values["getStockCandles"]["AAPL"]["close"]) > 100
    else:
        assert values["createOrder"]["client_order_id"] == "first"
        assert len(values["createOrder bracket"]["legs"]) == 2
        assert len(values["getBarsV2"]) == 30
        assert values["getSnapshots"][0]["DailyBar"]["ClosePrice"] > 0


def test_the_newer_line_streams(packages, exchange):
    seen = run(packages, "streams4.mjs", exchange.url, exchange.ws)
    assert seen["errors"] == []
    ours = [update for update in seen["trades"] if update["order"]["clientOrderId"] == "streamed"]
    assert [update["event"] for update in ours] == ["new", "fill"]
    assert (ours[1]["qty"], ours[1]["positionQty"]) == ("3", "3")
    truth = exchange.call("GET", "/v2/orders:by_client_order_id", params={"client_order_id": "streamed"})
    assert ours[1]["order"]["id"] == truth["id"]
    assert float(ours[1]["price"]) == float(truth["filled_avg_price"])
    bars = exchange.call("GET", "/v2/stocks/bars", params={**DAY, "timeframe": "1Min"})["bars"]
    for symbol, rows in bars.items():
        streamed = [bar["close"] for bar in seen["bars"] if bar["symbol"] == symbol][:5]
        assert streamed == [row["c"] for row in rows[:5]]
    assert seen["ticks"] >= 5
    assert seen["quotes"] >= 5
    assert (seen["waited"]["symbol"], seen["waited"]["status"]) == ("MSFT", "filled")


def test_the_older_line_streams_orders(packages, exchange):
    seen = run(packages, "streams3.mjs", exchange.url)
    assert [update["event"] for update in seen["trades"]] == ["new", "fill"]
    assert seen["errors"] == []
