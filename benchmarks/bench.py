"""Every benchmark, one after the other, and docs/benchmarks.md out of what they say: `python benchmarks/bench.py [--rounds 3]`.

Runs unattended: what fails, or takes longer than it may, becomes a line of the page.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOST_MINUTES = 25  # of all together
# Minutes that each may take, and whether it runs in rounds.
SCRIPTS = {
    "same_trades": (3, False),
    "sweep": (5, True),
    "single": (6, True),
    "portfolio": (3, True),
    "features": (3, True),
    "models": (5, True),
    "storage": (6, True),
    "cycle": (8, False),
    "scaling": (4, False),
    "memory": (2, False),
    "tuning": (3, True),
}
SILENT = {"same_trades"}  # fails loudly, tells no figures


def run(script: str, rounds: int, out: Path, seconds_left: float) -> str | None:
    """Why it failed, if it did."""
    minutes, repeats = SCRIPTS[script]
    seconds = min(60.0 * minutes, seconds_left)
    if seconds <= 0.0:
        return "no time was left for it"
    command = [sys.executable, str(HERE / f"{script}.py")]
    command += ["--rounds", str(rounds)] if repeats else []
    command += [] if script in SILENT else ["--out", str(out)]
    process = subprocess.Popen(command, start_new_session=True)  # so that its contestants end with it
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"took longer than {seconds:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"ended with status {status}" if status else None


def main() -> None:
    """All of them; status 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("logs/bench.jsonl"))
    parser.add_argument("--only", nargs="*", choices=list(SCRIPTS), default=list(SCRIPTS))
    wish = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    wish.out.parent.mkdir(parents=True, exist_ok=True)
    wish.out.write_text("")
    failed, ends_at = 0, time.monotonic() + 60.0 * MOST_MINUTES
    for script in wish.only:
        started = time.perf_counter()
        fault = run(script, wish.rounds, wish.out, ends_at - time.monotonic())
        print(f"\n{script}: {fault or 'done'} in {time.perf_counter() - started:.0f} s", flush=True)
        if fault is not None:
            failed += 1
            with wish.out.open("a") as file:
                file.write(json.dumps({"workload": script, "failed": fault}) + "\n")
    subprocess.run([sys.executable, str(HERE / "results.py"), str(wish.out)], check=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
