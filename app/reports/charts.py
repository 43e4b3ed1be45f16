"""The charts of a backtest, out of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.reports.chart import Block, Chart, Line, Mark, Point, Scale, Tick, nice_values, spanning, time_ticks
from app.reports.text import day, money, number, parsed, percent, words

BENCHMARK_ROLES = ("benchmark", "other")
MOST_MARKED = 300  # trades on a price chart, those that gained or lost most
_LOG_FROM = 4.0  # a curve that grows to so many times its low is read better by ratios
Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Month:
    """A cell of the monthly table. level: -4 to 4, how far from zero; None without a value."""

    value: float | None
    level: int | None

    @property
    def text(self) -> str:
        """The return, in percent without the sign of it."""
        return "" if self.value is None else percent(self.value, 1).removesuffix(" %")


def equity(result: Result) -> Chart | None:
    """Equity beside the benchmarks."""
    points = result["equity_curve"]
    if len(points) < 2:
        return None
    x, capital = _time(points), float(result["performance"]["initial_capital"])
    columns = [("equity", "equity", "strategy")]
    columns += [(name, words(name), role) for name, role in zip(_benchmarks(result), BENCHMARK_ROLES, strict=False)]
    values = [float(point[name]) for name, _, _ in columns for point in points if point[name] is not None]
    low, high = min([*values, capital]), max([*values, capital])
    is_log = low > 0 and high / low >= _LOG_FROM
    y = Scale(low=low / 1.05, high=high * 1.05, form="money", is_log=True) if is_log else spanning([*values, capital], "money")
    lines = [_line(points, name, label, role, x, y) for name, label, role in columns]
    return Chart(
        title="Equity" + (" (logarithmic scale)" if is_log else ""),
        summary=f"Equity from {money(capital)} to {money(points[-1]['equity'])}, {_span(points)}.",
        x=x,
        y=y,
        x_ticks=time_ticks(x),
        y_ticks=ticks(y),
        lines=tuple(reversed(lines)),
        zero=1 - y.at(capital),
    )


def drawdown(result: Result) -> Chart | None:
    """How far the equity lies below its high."""
    points = result["equity_curve"]
    if len(points) < 2:
        return None
    x, y = _time(points), spanning([-float(point["drawdown"]) for point in points] + [-0.01], "percent", floor=0.0)
    under = tuple((x.at(_second(point)), 1 - y.at(-float(point["drawdown"]))) for point in points)
    deepest = result["performance"]["max_drawdown"]
    return Chart(
        title="Drawdown",
        summary=f"The deepest fall below an earlier high is {percent(deepest)}.",
        x=x,
        y=y,
        x_ticks=time_ticks(x),
        y_ticks=ticks(y, 3),
        lines=(Line(name="drawdown", role="loss", points=under, base=1 - y.at(0.0)),),
        zero=1 - y.at(0.0),
    )


def exposure(result: Result) -> Chart | None:
    """Value of the holdings over equity."""
    points = [point for point in result["equity_curve"] if point["equity"] > 0]
    if len(points) < 2:
        return None
    shares = [float(point["positions_value"]) / float(point["equity"]) for point in points]
    x, y = _time(points), spanning([*shares, 0.01], "percent", floor=0.0)
    line = tuple((x.at(_second(point)), 1 - y.at(share)) for point, share in zip(points, shares, strict=True))
    return Chart(
        title="Exposure",
        summary=f"Holdings over equity: {percent(result['exposure']['mean'])} in the mean.",
        x=x,
        y=y,
        x_ticks=time_ticks(x, 5),
        y_ticks=ticks(y, 4),
        lines=(Line(name="exposure", role="strategy", points=line, base=1 - y.at(0.0)),),
        zero=1 - y.at(0.0),
    )


def distribution(result: Result) -> Chart | None:
    """How often the days returned how much."""
    histogram = result["returns_histogram"]
    if histogram is None:
        return None
    edges, counts = histogram["edges"], histogram["counts"]
    x, y = Scale(low=edges[0], high=edges[-1], form="percent"), Scale(low=0.0, high=max(counts) * 1.05, form="whole")
    blocks = tuple(
        Block(
            left=x.at(low),
            right=x.at(high),
            top=1 - y.at(count),
            base=1.0,
            role="benchmark" if low < 0 < high else "loss" if low < 0 else "gain",
            text=f"{percent(low)} to {percent(high)}: {count} days",
        )
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    return Chart(
        title="Daily returns",
        summary=f"Histogram of {sum(counts)} daily returns; the outermost bars hold all beyond them.",
        x=x,
        y=y,
        x_ticks=tuple(Tick(x.at(value), percent(value, 1)) for value in nice_values(x, 6)),
        y_ticks=tuple(tick for tick in ticks(y, 4) if "." not in tick.text),
        blocks=blocks,
    )


def price(result: Result, symbol: str) -> Chart | None:
    """The price of a symbol with its trades."""
    known = result["prices"].get(symbol)
    if known is None or len(known["close"]) < 2:
        return None
    seconds = [parsed(at).timestamp() for at in known["at"]]
    trades = [trade for trade in result["trades"] if trade["symbol"] == symbol]
    count, trades = len(trades), sorted(trades, key=lambda trade: -abs(trade["profit"]))[:MOST_MARKED]
    shown = f"{len(trades)} of {count}" if count > len(trades) else str(count)
    prices = known["close"] + [trade[side] for trade in trades for side in ("entry_price", "exit_price")]
    x, y = Scale(low=seconds[0], high=max(seconds)), spanning(prices, "number")
    line = tuple((x.at(at), 1 - y.at(close)) for at, close in zip(seconds, known["close"], strict=True))
    return Chart(
        title=f"{symbol}, {shown} trades",
        summary=f"Closes of {symbol} with the entries and exits of {shown} trades.",
        x=x,
        y=y,
        x_ticks=time_ticks(x),
        y_ticks=ticks(y),
        lines=(Line(name=symbol, role="benchmark", points=line),),
        marks=tuple(mark for trade in trades for mark in _marks(trade, x, y)),
    )


def months(result: Result) -> dict[int, list[Month]]:
    """By year twelve months and the whole year, the newest year first."""
    found = {(row["year"], row["month"]): float(row["return"]) for row in result["monthly"]}
    largest = max((abs(value) for value in found.values()), default=0.0)
    table = {}
    for year in sorted({year for year, _ in found}, reverse=True):
        row = [found.get((year, month)) for month in range(1, 13)]
        whole = 1.0
        for value in row:
            whole *= 1.0 + (value or 0.0)
        table[year] = [Month(value, _level(value, largest)) for value in row] + [Month(whole - 1.0, None)]
    return table


def _level(value: float | None, largest: float) -> int | None:
    if value is None:
        return None
    steps = round(abs(value) / largest * 4) if largest else 0
    return steps if value >= 0 else -steps


def _marks(trade: Mapping[str, Any], x: Scale, y: Scale) -> Sequence[Mark]:
    opened, closed = parsed(trade["opened_at"]).timestamp(), parsed(trade["closed_at"]).timestamp()
    return (
        Mark(
            shape="entry",
            role="strategy",
            at=(x.at(opened), 1 - y.at(trade["entry_price"])),
            text=f"bought {trade['quantity']:g} at {trade['entry_price']:,.2f}, {day(trade['opened_at'])}",
        ),
        Mark(
            shape="exit",
            role="gain" if trade["profit"] > 0 else "loss",
            at=(x.at(closed), 1 - y.at(trade["exit_price"])),
            text=f"sold at {trade['exit_price']:,.2f}, {day(trade['closed_at'])}, {percent(trade['return'])}, "
            f"{words(trade['reason'])}",
        ),
    )


def _benchmarks(result: Result) -> list[str]:
    return [name for name, figures in result["benchmark"].items() if figures is not None]


def _line(points: Sequence[Mapping[str, Any]], name: str, label: str, role: str, x: Scale, y: Scale) -> Line:
    known: tuple[Point, ...] = tuple(
        (x.at(_second(point)), 1 - y.at(float(point[name]))) for point in points if point[name] is not None
    )
    return Line(name=label, role=role, points=known)


def ticks(scale: Scale, most: int = 5) -> tuple[Tick, ...]:
    """Round values up a y axis, as text."""
    values = nice_values(scale, most)
    if scale.form == "percent":
        digits = 0 if all(abs(value * 100 - round(value * 100)) < 1e-9 for value in values) else 1
        return tuple(Tick(1 - scale.at(value), percent(value, digits)) for value in values)
    digits = 0 if all(value == round(value) for value in values) else 2
    return tuple(Tick(1 - scale.at(value), number(value, digits)) for value in values)


def _time(points: Sequence[Mapping[str, Any]]) -> Scale:
    return Scale(low=_second(points[0]), high=_second(points[-1]))


def _second(point: Mapping[str, Any]) -> float:
    return parsed(point["at"]).timestamp()


def _span(points: Sequence[Mapping[str, Any]]) -> str:
    return f"{day(points[0]['at'])} to {day(points[-1]['at'])}"
