"""How fast the simulated exchange replays a day for a client that follows its market data stream.

A server process at speed `follow`, and an unmodified alpaca-py client in this process: minute bars of all symbols by stream,
and every ten minutes, before the next bar is taken, the account, the open orders and the positions by REST.

    python benchmarks/exchange_streams.py [--days N] [--symbols N] [--queue N]
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import time
import urllib.request
import warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)

from alpaca.data.live import StockDataStream
from alpaca.trading.client import TradingClient


def main():
    """Run the replay and print one line a day."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=32)
    parser.add_argument("--queue", type=int, default=1, help="frames that the client's library reads ahead")
    wish = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    symbols = " ".join(f"S{chr(65 + i // 26)}{chr(65 + i % 26)}" for i in range(wish.symbols))
    command = [sys.executable, "-m", "app.cli", "simulator", "--port", str(port), "--speed", "follow", "--symbols", symbols]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/sim/state")
        asyncio.run(replay(port, wish))
    finally:
        server.terminate()
        server.wait(10)


async def replay(port, wish):
    """Follow the stream for some days."""
    trading = TradingClient("key", "secret", url_override=f"http://127.0.0.1:{port}")
    settings = {"max_queue": wish.queue, "ping_interval": 10, "ping_timeout": 180}
    stream = StockDataStream("key", "secret", url_override=f"ws://127.0.0.1:{port}/v2/iex", websocket_params=settings)
    day = Day()

    async def on_bar(bar):
        if day.number == wish.days:
            return
        if bar.timestamp.date() != day.date:
            day.report()
            if day.number == wish.days:
                await stream.stop_ws()
                return
            day.begin(bar.timestamp.date())
        if bar.timestamp != day.minute:
            day.minute = bar.timestamp
            if bar.timestamp.minute % 10 == 0:
                await asyncio.to_thread(cycle, trading, day)
        day.bars += 1

    stream.subscribe_bars(on_bar, "*")
    await stream._run_forever()


def cycle(trading, day):
    """What a trading system asks for in a cycle."""
    trading.get_account()
    trading.get_orders()
    trading.get_all_positions()
    clock = trading.get_clock().timestamp
    day.lead = max(day.lead, (clock - day.minute).total_seconds() / 60 - 1)
    day.cycles += 1


class Day:
    """Counts of one trading day. lead: minutes by which the exchange's clock was ahead of the newest bar taken."""

    def __init__(self):
        self.number, self.date, self.minute = 0, None, None
        self.begin(None)

    def begin(self, date):
        """A new day."""
        self.date, self.began, self.bars, self.cycles, self.lead = date, time.perf_counter(), 0, 0, 0.0

    def report(self):
        """Print a day that is over."""
        if self.date is not None:
            self.number += 1
            took = time.perf_counter() - self.began
            print(
                f"{self.date}: {self.bars} bars, {self.cycles} cycles in {took:.2f} s; clock ahead {self.lead:.0f} min at most"
            )


def wait_for(url):
    """Until the server answers."""
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the exchange did not start")


if __name__ == "__main__":
    main()
