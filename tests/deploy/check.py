"""make docker-check: what can be checked of the deployment on this machine, and what cannot, said line by line.

Files: hadolint, the schema of compose files, promtool. Then, where Podman and podman-compose are there and may run containers:
the images are built from the Dockerfile, the stack is started from docker-compose.yml with the secrets of `trader init`, and is
left alone until CYCLES (3) cycles have completed inside. Each container's own health check must pass, Prometheus inside must
answer what the dashboards ask, and Redis and PostgreSQL are taken away in turn, of which nobody else may end.

Images that cannot be pulled are replaced by stand-ins with the same programs (tests/deploy/stand_ins), if BASE_ROOT names the
directory of a Debian system with Python 3.13 to build them from (debootstrap trixie). Grafana has none: it is left out then.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from app.commands import init

from . import asking

ROOT = asking.ROOT
STAND_INS = Path(__file__).parent / "stand_ins"
CYCLES = int(os.environ.get("CYCLES", "3"))
PROJECT = "alpha-trader-check"
START_SECONDS = 900.0
LEARNERS = 2
LOSS_SECONDS = 45.0
PATIENCE_SECONDS = 60.0  # until health checks that look back a minute have something new to see
BASE = "python:3.13-slim"
# With which Redis and PostgreSQL own their volumes before they become their own users.
STARTING = {f"CAP_{name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")}
# Enough for a daemonless Podman as root on a machine without systemd; a Podman that works already is left as it is.
CONTAINERS = """[containers]
default_ulimits = ["nofile={limit}:{limit}", "nproc={limit}:{limit}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Check:
    """Counts what failed; says everything."""

    def __init__(self) -> None:
        self.failed = 0

    def run(self, what: str, *command: str | Path, cwd: Path = ROOT) -> bool:
        """Run one program; its output is shown where it fails. Skipped, and said, where it is not there."""
        program = find(str(command[0]))
        if program is None:
            self.skip(what, f"{command[0]} is not here")
            return False
        done = subprocess.run([program, *map(str, command[1:])], cwd=cwd, capture_output=True, text=True, check=False)
        self.say(what, done.returncode == 0, "" if done.returncode == 0 else (done.stdout + done.stderr)[-4000:])
        return done.returncode == 0

    def say(self, what: str, well: bool, more: str = "") -> None:
        """One line."""
        self.failed += not well
        print(f"{'ok     ' if well else 'FAILED '} {what}{f': {more}' if more else ''}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """One line."""
        print(f"skipped {what}: {why}", flush=True)


def find(program: str) -> str | None:
    """Beside this Python, else on PATH."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program)


def check_files(check: Check) -> None:
    """All that needs no container."""
    check.run("Dockerfile (hadolint)", "hadolint", "Dockerfile")
    check.run("compose schema", "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")
    check.run("alert rules", "promtool", "check", "rules", "prometheus/alerts.yml")
    check.run("alert rules' tests", "promtool", "test", "rules", "tests/deploy/alerts_test.yml")
    with tempfile.TemporaryDirectory() as name:
        there = Path(name)
        (there / "rules").mkdir()
        shutil.copy(ROOT / "prometheus.yml", there)
        shutil.copy(ROOT / "prometheus/alerts.yml", there / "rules")
        check.run("prometheus.yml", "promtool", "check", "config", there / "prometheus.yml")


class Stack:
    """The stack under podman-compose, in a copy of the repository's files and a project of its own."""

    def __init__(self, check: Check, place: Path) -> None:
        self.check = check
        self.place = place
        self.services: list[str] = []

    def copy(self) -> None:
        """The files under version control, as a clone would have them, and what `trader init` adds."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            target = self.place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        init.make_files(self.place)

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """podman-compose on this stack."""
        program = find("podman-compose") or "podman-compose"
        command = [program, "--profile", "simulated", "--in-pod", "false", "-p", PROJECT, *arguments]
        return subprocess.run(command, cwd=self.place, capture_output=True, text=True, check=False)

    def base(self) -> bool:
        """The image that ours are built on, pulled or stood in for, and whether Podman can run it."""
        root = os.environ.get("BASE_ROOT")
        full = f"docker.io/library/{BASE}"
        if not _has(full) and root:
            tree = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
            command = ["podman", "import", "-", full]
            imported = subprocess.run(command, stdin=tree.stdout, capture_output=True, check=False)
            self.check.say(f"a stand-in for {BASE}", imported.returncode == 0)
        elif not _has(full) and subprocess.run(["podman", "pull", "-q", full], capture_output=True, check=False).returncode:
            self.check.skip("build and start", f"{BASE} cannot be pulled, and BASE_ROOT names nothing to stand in for it")
            return False
        if not _can_run(self.place.parent, full):
            self.check.skip("build and start", "Podman is here but cannot run a container")
            return False
        return True

    def images(self) -> bool:
        """Every image pulled, built, or stood in for."""
        may_stand_in = bool(os.environ.get("BASE_ROOT"))
        composed = yaml.safe_load((self.place / "docker-compose.yml").read_text())["services"]
        for name, service in composed.items():
            if "build" in service or self._obtain(service["image"], may_stand_in):
                self.services.append(name)
        owner = [line for line in (self.place / ".env").read_text().splitlines() if line.startswith("TRADER_")]
        arguments = [part for pair in owner for part in ("--build-arg", pair)]
        command = ("podman", "build", "--layers", "--pull-never", *arguments)
        built = [
            self.check.run(f"the image {image}", *command, "--target", target, "-t", image, ".", cwd=self.place)
            for target, image in (("runtime", "alpha-trader"), ("flower", "alpha-trader-flower"))
        ]
        return all(built)

    def _obtain(self, image: str, may_stand_in: bool) -> bool:
        full = image if image.count("/") > 1 else f"docker.io/{image if '/' in image else f'library/{image}'}"
        if _has(full):
            return True
        if not may_stand_in:
            return self.check.run(f"the image {image}", "podman", "pull", "-q", full)
        short = re.fullmatch(r"(?:.*/)?([a-z]+)[^/]*", image)
        stand_in = STAND_INS / f"{short[1] if short else image}.Containerfile"
        if not stand_in.exists():
            self.check.skip(f"the image {image}", "it cannot be pulled, and nothing stands in for it")
            return False
        command = ("podman", "build", "--pull-never", "-t", full, "-f", stand_in, STAND_INS)
        return self.check.run(f"a stand-in for {image}", *command)

    def start(self) -> bool:
        """Everything at once, as `docker compose up` would."""
        done = self.compose("up", "-d", "--no-build", "--scale", f"worker-learning={LEARNERS}", *self.services)
        self.check.say("the stack starts", done.returncode == 0, "" if done.returncode == 0 else done.stderr[-4000:])
        return done.returncode == 0

    def stop(self) -> None:
        """Containers, networks and volumes of this project go."""
        self.compose("down", "-v")

    def wait_for_cycles(self, what: str, count: int) -> bool:
        """Whether so many more cycles completed inside in time."""
        deadline = time.monotonic() + START_SECONDS
        wanted = _cycles() + count
        while time.monotonic() < deadline:
            if _cycles() >= wanted:
                self.check.say(f"{what}: {count} cycles completed", True)
                return True
            time.sleep(5)
        logs = subprocess.run(
            ["podman", "logs", "--tail", "20", "alpha-trader-flask"], capture_output=True, text=True, check=False
        )
        self.check.say(f"{what}: {count} cycles within {START_SECONDS:.0f} s", False, logs.stdout + logs.stderr)
        return False

    def containers(self) -> list[dict[str, Any]]:
        """What Podman knows of each of them."""
        listed = ["podman", "ps", "--all", "--quiet", "--filter", f"label=io.podman.compose.project={PROJECT}"]
        names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        found = subprocess.run(["podman", "inspect", *names], capture_output=True, text=True, check=True).stdout
        inspected: list[dict[str, Any]] = json.loads(found)
        return inspected

    def lose(self, service: str) -> None:
        """Take one away for a while. Nobody else may end of it, and all work again once it is back."""
        name = f"{PROJECT}_{service}_1"
        before = {one["Name"]: one["State"]["StartedAt"] for one in self.containers() if one["Name"] != name}
        subprocess.run(["podman", "stop", "--time", "10", name], capture_output=True, check=False)
        time.sleep(LOSS_SECONDS)
        subprocess.run(["podman", "start", name], capture_output=True, check=False)
        if not self.wait_for_cycles(f"after {LOSS_SECONDS:.0f} s without {service}", CYCLES):
            return
        time.sleep(PATIENCE_SECONDS)
        after = {one["Name"]: one["State"]["StartedAt"] for one in self.containers() if one["Name"] != name}
        ended = sorted(other for other in before if after.get(other) != before[other])
        self.check.say(f"no process ended for want of {service}", not ended, ", ".join(ended))
        ill = [one["Name"] for one in self.containers() if not _is_healthy(one["Id"])]
        self.check.say(f"all are healthy again with {service}", not ill, ", ".join(ill))

    def look(self) -> None:
        """Health checks, the doors, and what Prometheus inside answers."""
        for found in self.containers():
            self.check.say(f"health of {found['Name']}", _is_healthy(found["Id"]))
            well = found["HostConfig"]["ReadonlyRootfs"] and set(found["EffectiveCaps"] or ()) <= STARTING
            self.check.say(f"{found['Name']} is read-only and without capabilities beyond those of its start", well)
        for url, wanted in (
            ("http://127.0.0.1:5000/api/ready", 200),
            ("http://127.0.0.1:8080/api/health", 200),
            ("http://127.0.0.1:8080/metrics", 404),
            ("http://127.0.0.1:5555/", 401),
        ):
            status = _status(url)
            self.check.say(f"{url} answers {wanted}", status == wanted, "" if status == wanted else str(status))
        server = asking.Prometheus("http://127.0.0.1:9090")
        learners = len(server.ask('up{service="worker-learning"} == 1'))
        self.check.say(f"Prometheus finds {LEARNERS} of the scaled workers", learners == LEARNERS, f"found {learners}")
        missing = server.unanswered(asking.selectors())
        self.check.say("every series of the alert rules is told", not missing, ", ".join(missing))
        asked = list(asking.panels())
        empty = server.unanswered(iter(asked))
        self.check.say(f"queries of panels without data so far: {len(empty)} of {len(asked)}", True, ", ".join(empty))


def _cycles() -> float:
    """Completed inside, as Prometheus inside knows; 0 while it does not answer."""
    try:
        rows = asking.Prometheus("http://127.0.0.1:9090").ask('sum(alpha_trader_cycles_total{outcome="completed"})')
    except OSError:
        return 0.0
    return float(rows[0]["value"][1]) if rows else 0.0


def _is_healthy(container: str) -> bool:
    """As the compose file has it: one check that fails is no illness, several in a row are."""
    for _ in range(4):
        if subprocess.run(["podman", "healthcheck", "run", container], capture_output=True, check=False).returncode == 0:
            return True
        time.sleep(10)
    return False


def _has(image: str) -> bool:
    return subprocess.run(["podman", "image", "exists", image], capture_output=True, check=False).returncode == 0


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as fault:
        return fault.code
    except OSError:
        return 0


def _can_run(place: Path, image: str) -> bool:
    """Whether Podman runs containers here, if need be with a configuration that needs no systemd."""
    tried = ["podman", "run", "--rm", image, "true"]
    if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
        return True
    (place / "containers.conf").write_text(CONTAINERS.format(limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.environ |= {"CONTAINERS_CONF": str(place / "containers.conf"), "BUILDAH_ISOLATION": "chroot"}
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def main() -> int:
    """The exit code: 1 where anything failed."""
    check = Check()
    check_files(check)
    if find("podman") is None or find("podman-compose") is None:
        check.skip("build and start", "podman and podman-compose are not both here")
        return int(check.failed > 0)
    if subprocess.run(["podman", "container", "exists", "alpha-trader-flask"], check=False).returncode == 0:
        check.say("build and start", False, "a stack is here already: podman rm -f alpha-trader-flask, or docker compose down")
        return 1
    with tempfile.TemporaryDirectory(prefix="alpha-trader-check-") as name:
        (Path(name) / "stack").mkdir()
        stack = Stack(check, Path(name) / "stack")
        stack.copy()
        try:
            if stack.base() and stack.images() and stack.start() and stack.wait_for_cycles("from the start", CYCLES):
                stack.look()
                stack.lose("redis")
                stack.lose("postgres")
        finally:
            stack.stop()
    return int(check.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
