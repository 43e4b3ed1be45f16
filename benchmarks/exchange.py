"""Throughput of the simulated exchange over loopback: order submissions and reads a second, with median and 99th percentile.

A server process of its own with its state file on disk; client processes with one connection each send one request after
another. Run: `make bench-exchange`, or `python benchmarks/exchange.py --seconds 10 --clients 4`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADERS = {"APCA-API-KEY-ID": "bench", "APCA-API-SECRET-KEY": "secret", "Content-Type": "application/json"}
READS = (
    "/v2/account",
    "/v2/positions",
    "/v2/orders?status=open&limit=50",
    "/v2/orders?status=all&limit=50&nested=true",
    "/v2/clock",
    "/v2/stocks/snapshots?symbols=AAPL,MSFT,SPY",
    "/v2/stocks/trades/latest?symbols=AAPL,MSFT,SPY",
    "/v2/stocks/quotes/latest?symbols=AAPL",
    "/v2/stocks/bars?symbols=AAPL&timeframe=1Min&start=2024-01-02T14:30:00Z&limit=60",
    "/v2/account/activities?page_size=50",
)
SYMBOLS = ("AAPL", "MSFT", "SPY", "AMZN", "GOOGL", "NVDA", "META", "TSLA")


def main() -> None:
    """Start a server, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each measurement")
    parser.add_argument("--clients", type=int, default=4, help="client processes, one connection each")
    parser.add_argument("--orders", type=int, default=0, help="orders in the ledger before the measurement starts")
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, server(Path(directory) / "state.sqlite") as (port, pid):
        prepare(port, wish.orders)
        print(f"{wish.clients} clients, {wish.seconds:.0f} s each, state file on disk, {os.cpu_count()} cores")
        print(f"{'what':34} {'per second':>10} {'median ms':>10} {'p99 ms':>8} {'worst ms':>9}")
        for name, work in (
            ("order submissions", submit),
            ("reads, a mix of ten routes", read),
            ("submissions and reads", both),
        ):
            show(name, measure(work, port, wish.clients, wish.seconds))
        for path in READS:
            show(f"  {path.split('?')[0].removeprefix('/v2/')[:32]}", measure(one_read, port, wish.clients, 1.0, path))
        print(f"server's peak memory: {peak_megabytes(pid):.0f} MB")


@contextlib.contextmanager
def server(state: Path) -> Iterator[tuple[int, int]]:
    """A running exchange on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app.cli", "simulator", "--port", str(port), "--state", str(state), "--cash", "100000000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def prepare(port: int, orders: int) -> None:
    """An hour into the day, some positions, and `orders` finished or resting orders."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    call(link, "POST", "/sim/clock", {"advance_seconds": 1800})
    for symbol in SYMBOLS:
        call(link, "POST", "/v2/orders", market(symbol))
    for number in range(orders):
        call(link, "POST", "/v2/orders", resting(number))
        if number % 2_000 == 1_999:
            call(link, "DELETE", "/v2/orders")
    call(link, "POST", "/sim/clock", {"advance_seconds": 1800})


def market(symbol: str) -> dict[str, str]:
    """A buy that fills in the next minute."""
    return {"symbol": symbol, "side": "buy", "type": "market", "time_in_force": "day", "qty": "1"}


def resting(number: int) -> dict[str, str]:
    """A buy far below the market."""
    return {**market(SYMBOLS[number % len(SYMBOLS)]), "type": "limit", "limit_price": "1.00", "time_in_force": "gtc"}


def call(link: http.client.HTTPConnection, method: str, path: str, body: object = None) -> int:
    """Status of a request, its body read."""
    link.request(method, path, body=None if body is None else json.dumps(body), headers=HEADERS)
    answer = link.getresponse()
    answer.read()
    return answer.status


def submit(link: http.client.HTTPConnection, number: int, _path: str) -> int:
    """One order."""
    return call(link, "POST", "/v2/orders", resting(number))


def read(link: http.client.HTTPConnection, number: int, _path: str) -> int:
    """One of the reads, in turn."""
    return call(link, "GET", READS[number % len(READS)])


def both(link: http.client.HTTPConnection, number: int, path: str) -> int:
    """One submission for every three reads."""
    return submit(link, number, path) if number % 4 == 0 else read(link, number, path)


def one_read(link: http.client.HTTPConnection, _number: int, path: str) -> int:
    """Always the same read."""
    return call(link, "GET", path)


def measure(work: object, port: int, clients: int, seconds: float, path: str = "") -> tuple[float, list[float]]:
    """Requests a second over all clients and every latency in seconds."""
    with multiprocessing.get_context("spawn").Pool(clients) as pool:
        begin = time.monotonic() + 1.0
        parts = pool.starmap(client, [(work, port, begin, seconds, path, n) for n in range(clients)])
    latencies = sorted(latency for part in parts for latency in part)
    return len(latencies) / seconds, latencies


def client(work: object, port: int, begin: float, seconds: float, path: str, offset: int) -> list[float]:
    """Latencies of one client's requests between `begin` and `begin + seconds` of the monotonic clock."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    link.connect()
    link.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    time.sleep(max(0.0, begin - time.monotonic()))
    latencies, number = [], offset
    while (started := time.monotonic()) < begin + seconds:
        status = work(link, number, path)  # type: ignore[operator]
        if status != 200:
            raise SystemExit(f"request {number} was answered {status}")
        latencies.append(time.monotonic() - started)
        number += 1
    return latencies


def show(name: str, measured: tuple[float, list[float]]) -> None:
    """One line of the table."""
    rate, latencies = measured
    p99 = latencies[int(len(latencies) * 0.99)] if latencies else float("nan")
    median = statistics.median(latencies) if latencies else float("nan")
    print(f"{name:34} {rate:10.0f} {median * 1000:10.2f} {p99 * 1000:8.2f} {latencies[-1] * 1000:9.2f}", flush=True)


def peak_megabytes(pid: int) -> float:
    """Largest resident size of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
