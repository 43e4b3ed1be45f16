"""The page and the picture: they stand alone, hold what they should, and nothing in a result can break out of its place."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.domain.errors import Conflict
from app.reports import charts
from app.reports.chart import Scale, nice_values, time_ticks
from app.reports.html import ROWS, page, policy
from app.reports.png import picture
from app.reports.text import days, money, number, percent
from app.storage.columns import plain
from tests.reports.made import VERDICT, stored

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "img", "input", "path", "use"}


class Outline(HTMLParser):
    """Tags, and whether they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def backtest(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = plain(stored(**options))
    return found


def test_the_page_stands_alone() -> None:
    text = page(backtest(verdict=VERDICT))
    outline = Outline(text)
    for tag, attributes in outline.tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not attributes.keys() & {"src", "srcset", "action", "ping", "background"}
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in policy() and outline.count("script") == 1
    assert [a["content"] for _, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy"] == [policy()]


def test_the_page_has_every_part() -> None:
    text = page(backtest(verdict=VERDICT, strategy="sma_cross"))
    said = " ".join("".join(Outline(text).text).split())
    for part in (
        "Backtest of sma_cross", "WARN The evidence is not enough", "12 closed trades are too few to judge by", "Sharpe ratio",
        "Equity", "Drawdown", "Returns by month", "Daily returns", "Exposure", "Trades on the price", "By symbol", "By exit",
        "All figures", "Value at risk", "What was assumed", "slippage bps", "ab" * 32, "Benchmark: SPY",
    ):  # fmt: skip
        assert part in said, part
    assert text.count("data-part=") == 2 and 'href="#entry"' in text and 'href="#exit"' in text


def test_a_walk_forward_shows_its_windows() -> None:
    found = backtest(verdict=VERDICT) | {"params": {"strategy": "macd"}}
    span = {"start": "2021-03-01T21:00:00+00:00", "end": "2021-06-01T21:00:00+00:00"}
    ruled = {
        "train": span,
        "values": {"fast": 5, "slow_bars": 21.5},
        "in_sample": {"sharpe": 1.25},
        "out_of_sample": {"sharpe": -0.5},
    }
    windows = [{"test": span, "account_return": -0.02} | ruled, {"test": span, "account_return": None}]
    degradation = {"mean_sharpe_in_sample": 1.25, "mean_sharpe_out_of_sample": -0.5, "kept": None, "windows_with_a_loss": 1}
    found["result"]["walk_forward"] = {"windows": windows, "degradation": degradation}
    said = " ".join("".join(Outline(page(found)).text).split())
    assert "Walk-forward of macd" in said and "fast 5, slow bars 21.5" in said and "1 of 2 windows lost" in said
    assert "−2.00 %" in said
    found["result"]["walk_forward"]["degradation"] = None
    assert "windows lost" not in page(found) and picture(found)


def test_without_a_verdict_it_says_so() -> None:
    assert "was not checked for luck" in page(backtest())


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_short_results_have_a_page_and_a_picture(count: int) -> None:
    few = backtest(count=count)
    Outline(page(few))
    assert Image.open(io.BytesIO(picture(few))).format == "PNG"


def test_names_from_outside_stay_text() -> None:
    """Symbols, reasons, strategies and assumptions that look like markup are shown, not obeyed."""
    found = backtest(symbols=(EVIL, "AAPL"), strategy=EVIL, verdict=VERDICT | {"reasons": [EVIL]})
    found["result"]["assumptions"][EVIL] = EVIL
    found["result"]["trades"][0]["reason"] = EVIL
    found["result"]["benchmark"] = {EVIL: found["result"]["benchmark"]["SPY"]}
    for point in found["result"]["equity_curve"]:
        point[EVIL] = point["SPY"]
    clean, text = Outline(page(backtest(symbols=("X", "AAPL"), verdict=VERDICT, strategy="s"))), page(found)
    outline = Outline(text)
    assert outline.count("script") == 1 == clean.count("script") and outline.count("img") == 0
    assert "<script>alert" not in text and "onerror=alert(2)>" not in text
    assert "".join(outline.text).count(EVIL) >= 5
    picture(found)


def test_what_an_older_version_stored_is_refused_with_the_mend() -> None:
    old = backtest() | {"result": {"performance": {"total_return": 0.1}}}
    for render in (page, picture):
        with pytest.raises(Conflict, match="run it again"):
            render(old)
    with pytest.raises(Conflict):
        page(backtest() | {"result": None})


def test_the_table_of_trades_is_bounded() -> None:
    many = page(backtest(count=3000))
    assert f"the last {ROWS} of 666" in many
    assert f"AAPL, {charts.MOST_MARKED} of 333 trades" in many and len(many) < 600_000


def test_the_picture_shows_colour_where_there_are_curves() -> None:
    image = Image.open(io.BytesIO(picture(backtest(verdict=VERDICT)))).convert("RGB")
    colours = {colour for _, colour in image.getcolors(1 << 24) or []}
    assert image.width == 1200 and image.height > 700
    assert (0x1F, 0x62, 0xC4) in colours and (0x9A, 0x62, 0x00) in colours


@settings(deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 10))
def test_round_values_lie_within_and_are_few(low: float, span: float, most: int) -> None:
    scale = Scale(low=low, high=low + span)
    if scale.high - scale.low < abs(low) * 1e-9:
        return
    values = nice_values(scale, most)
    room = span * 1e-6 + abs(low) * 1e-9
    assert len(values) <= most + 2
    assert all(scale.low - room <= value <= scale.high + room for value in values)


@settings(deadline=None)
@given(st.integers(0, 2_000_000_000), st.integers(60, 1_500_000_000))
def test_time_ticks_lie_within_and_are_few(first: int, span: int) -> None:
    ticks = time_ticks(Scale(low=float(first), high=float(first + span)))
    assert len(ticks) <= 9 and all(-1e-9 <= tick.at <= 1 + 1e-9 for tick in ticks)
    assert len({tick.text for tick in ticks}) == len(ticks) or span < 86_400 * 2


def test_days_without_a_move_are_neither_gain_nor_loss() -> None:
    found = backtest()["result"]
    found["returns_histogram"] = {"edges": [-0.03, -0.01, 0.01, 0.02], "counts": [3, 50, 4]}
    chart = charts.distribution(found)
    assert chart is not None and [block.role for block in chart.blocks] == ["loss", "benchmark", "gain"]
    assert chart.blocks[1].top < chart.blocks[2].top < chart.blocks[0].top


def test_a_curve_that_multiplies_is_drawn_by_ratios() -> None:
    found = backtest()["result"]
    for i, point in enumerate(found["equity_curve"]):
        point["equity"] = 1e5 * 1.01**i
    chart = charts.equity(found)
    assert chart is not None and chart.y.is_log and "logarithmic" in chart.title
    ours = next(line for line in chart.lines if line.role == "strategy")
    steps = [b[1] - a[1] for a, b in zip(ours.points, ours.points[1:], strict=False)]
    assert max(steps) - min(steps) < 1e-9  # a straight line


def test_texts() -> None:
    assert percent(-0.0512) == "−5.12 %" and percent(None) == "–" and percent(-0.00001) == "0.00 %"
    assert number(1234.5) == "1,234.50" and money(-98765.4) == "−98,765" and money(3.5) == "3.50"
    assert days(0.01) == "14 minutes" and days(0.5) == "12.0 hours" and days(3) == "3.0 days" and days(400) == "400 days"
