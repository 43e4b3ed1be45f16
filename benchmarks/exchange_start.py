"""How fast the simulated exchange starts on a year of minute bars of 32 symbols, and how much memory it takes.

Writes such a Parquet file from the generated market, starts `trader simulator` on it as a process of its own, and measures the
time to its first answer and its peak memory; then how fast a client pages through a year of one symbol.

    python -m benchmarks.exchange_start [--symbols 32] [--sessions 252]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from app.engine.path import bar_paths, path_key
from app.marketdata.generator import generate_daily
from app.runtime.calendar import new_york_calendar

FIRST = date(2023, 1, 3)
HEADERS = {"APCA-API-KEY-ID": "bench", "APCA-API-SECRET-KEY": "bench"}


def write_tape(path: Path, symbols: int, sessions: int) -> int:
    """Minute bars of generated symbols, sorted by symbol and time; returns how many."""
    days = new_york_calendar().between(FIRST, date(2030, 12, 31))[:sessions]
    names = [f"S{number:03d}" for number in range(symbols)]
    writer, rows = None, 0
    for name, bars in generate_daily(7, names, days).items():
        columns: dict[str, list[np.ndarray]] = {key: [] for key in ("timestamp", "open", "high", "low", "close", "volume")}
        for i, session in enumerate(days):
            opens, closes = int(session.opens_at.timestamp()), int(session.closes_at.timestamp())
            day = {key: getattr(bars, key)[i : i + 1] for key in ("open", "high", "low", "close", "volume")}
            path_of_day = bar_paths([path_key(7, name, session.day)], (closes - opens) // 60, **day, smile=True)
            columns["timestamp"].append(np.arange(opens, closes, 60, dtype=np.int64) * 1_000_000)
            for key, values in path_of_day._asdict().items():
                columns[key].append(values[0])
        joined = {key: np.concatenate(parts) for key, parts in columns.items()}
        rows += len(joined["open"])
        times = pa.array(joined.pop("timestamp"), pa.timestamp("us", "UTC"))
        names_column = pa.DictionaryArray.from_arrays(np.zeros(len(times), dtype=np.int32), [name]).cast(pa.string())
        table = pa.table({"symbol": names_column, "timestamp": times, **joined})
        writer = writer or parquet.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return rows


def peak_megabytes(pid: int) -> float:
    """Largest resident size so far of a running process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


def get(url: str) -> dict:
    """A JSON answer."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=HEADERS), timeout=60) as answer:
        return json.load(answer)


def first_answer(url: str, process: subprocess.Popen, began: float) -> float:
    """Seconds until the server answers."""
    while process.poll() is None:
        try:
            get(f"{url}/v2/clock")
        except OSError:
            time.sleep(0.02)
        else:
            return time.perf_counter() - began
    raise SystemExit(f"the exchange ended with {process.returncode}")


def page_through(url: str, symbol: str) -> tuple[int, float]:
    """All minute bars of one symbol in pages of 10,000: how many, and the seconds that took."""
    query = f"{url}/v2/stocks/bars?symbols={symbol}&timeframe=1Min&start={FIRST}&limit=10000"
    began, rows, token = time.perf_counter(), 0, ""
    while token is not None:
        page = get(query + (f"&page_token={token}" if token else ""))
        rows += sum(len(bars) for bars in page["bars"].values())
        token = page["next_page_token"]
    return rows, time.perf_counter() - began


def measure(data: list[str], port: int, symbol: str, last: str) -> None:
    """Start a server with these arguments, print what it costs."""
    url, began = f"http://127.0.0.1:{port}", time.perf_counter()
    command = [sys.executable, "-m", "app.cli", "simulator", "--port", str(port), *data]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        seconds = first_answer(url, process, began)
        print(f"first answer after {seconds:5.2f} s, peak memory {peak_megabytes(process.pid):.0f} MB")
        body = json.dumps({"to": last}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{url}/sim/clock", data=body, method="POST"), timeout=60).close()
        for name in ("first", "again"):
            rows, took = page_through(url, symbol)
            print(f"{rows:,} minute bars paged {name}: {took:.2f} s, {rows / took:,.0f} a second")
        print(f"peak memory after that {peak_megabytes(process.pid):.0f} MB")
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """Measure both tapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=32)
    parser.add_argument("--sessions", type=int, default=252)
    parser.add_argument("--port", type=int, default=5861)
    wish = parser.parse_args()
    last = new_york_calendar().between(FIRST, date(2030, 12, 31))[wish.sessions - 1].closes_at.isoformat()
    print("generated market:")
    measure(["--start", str(FIRST)], wish.port, "AAPL", last)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "year.parquet")
        rows = write_tape(path, wish.symbols, wish.sessions)
        print(f"file of {rows:,} minute bars of {wish.symbols} symbols, {path.stat().st_size / 1e6:.0f} MB:")
        measure(["--data", str(path)], wish.port, "S000", last)


if __name__ == "__main__":
    main()
