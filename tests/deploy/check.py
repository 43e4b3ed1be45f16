"""make docker-check: what can be checked of the deployment on this machine, and what cannot, said line by line.

Files: hadolint, the schema of compose files, promtool, nginx. Then, where Podman and podman-compose are there and may run
containers: the images are built from the Dockerfile, the stack is started from docker-compose.yml with the secrets of `trader
init`, and is left alone until CYCLES (3) cycles have completed inside; each container's own health check must pass, and
Prometheus inside must answer what the dashboards ask.

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

import yaml

from app.commands import init

from . import asking

ROOT = asking.ROOT
STAND_INS = Path(__file__).parent / "stand_ins"
CYCLES = int(os.environ.get("CYCLES", "3"))
START_SECONDS = 900.0
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
        command = [program, "--profile", "simulated", "--in-pod", "false", "-p", "alpha-trader-check", *arguments]
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
        done = self.compose("up", "-d", "--no-build", *self.services)
        self.check.say("the stack starts", done.returncode == 0, "" if done.returncode == 0 else done.stderr[-4000:])
        return done.returncode == 0

    def stop(self) -> None:
        """Containers, networks and volumes of this project go."""
        self.compose("down", "-v")

    def wait_for_cycles(self) -> bool:
        """Whether so many cycles completed inside in time."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = 'sum(alpha_trader_cycles_total{outcome="completed"})'
            try:
                rows = asking.Prometheus("http://127.0.0.1:9090").ask(text)
            except OSError:
                rows = []
            if rows and float(rows[0]["value"][1]) >= CYCLES:
                self.check.say(f"{rows[0]['value'][1]} cycles completed inside", True)
                return True
            time.sleep(5)
        logs = subprocess.run(
            ["podman", "logs", "--tail", "20", "alpha-trader-flask"], capture_output=True, text=True, check=False
        )
        self.check.say(f"{CYCLES} cycles within {START_SECONDS:.0f} s", False, logs.stdout + logs.stderr)
        return False

    def look(self) -> None:
        """Health checks, the doors, and what Prometheus inside answers."""
        listed = ["podman", "ps", "--filter", "label=io.podman.compose.project=alpha-trader-check", "--format", "json"]
        for container in json.loads(subprocess.run(listed, capture_output=True, text=True, check=True).stdout):
            self.check.run(f"health of {container['Names'][0]}", "podman", "healthcheck", "run", container["Id"])
            inspected = subprocess.run(
                ["podman", "inspect", container["Id"]], capture_output=True, text=True, check=True
            ).stdout
            found = json.loads(inspected)[0]
            well = found["HostConfig"]["ReadonlyRootfs"] and set(found["EffectiveCaps"] or ()) <= STARTING
            self.check.say(f"{container['Names'][0]} is read-only and without capabilities beyond those of its start", well)
        for url, wanted in (
            ("http://127.0.0.1:5000/api/ready", 200),
            ("http://127.0.0.1:8080/api/health", 200),
            ("http://127.0.0.1:8080/metrics", 404),
            ("http://127.0.0.1:5555/", 401),
        ):
            status = _status(url)
            self.check.say(f"{url} answers {wanted}", status == wanted, "" if status == wanted else str(status))
        server = asking.Prometheus("http://127.0.0.1:9090")
        missing = server.unanswered(asking.selectors())
        self.check.say("every series of the alert rules is told", not missing, ", ".join(missing))
        asked = list(asking.panels())
        empty = server.unanswered(iter(asked))
        self.check.say(f"queries of panels without data so far: {len(empty)} of {len(asked)}", True, ", ".join(empty))


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
            if stack.base() and stack.images() and stack.start() and stack.wait_for_cycles():
                stack.look()
        finally:
            stack.stop()
    return int(check.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
