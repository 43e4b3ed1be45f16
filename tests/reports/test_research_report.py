"""Reports of sweeps, searches and walk-forwards: they stand alone, hold what they should, refuse what cannot be drawn."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.backtest.compiled.evaluation import Figures
from app.domain.errors import Conflict
from app.reports import research_charts
from app.reports.html import page, policy, research_page
from app.reports.png import picture
from app.reports.research_png import research_picture
from app.services.research.heat_map import FIGURES, heat_map
from tests.reports.made import VERDICT
from tests.reports.test_report import EVIL, Outline, backtest

FIRST = "2021-03-01T21:00:00+00:00"


def figures(sharpe: float = 0.5, trades: int = 12, **changes: Any) -> dict[str, Any]:
    found = Figures(
        observations=100, mean=0.001, deviation=0.01, skewness=0.0, kurtosis=3.0, total_return=sharpe / 10,
        sharpe=sharpe, max_drawdown=0.1, trades=trades, win_rate=0.5 if trades else None,
    )  # fmt: skip
    return {**found._asdict(), **changes}


def tried(x: list[float], y: list[float], z: tuple[float, ...] = (1.0,)) -> list[tuple[dict[str, float], Figures]]:
    return [
        ({"fast": a, "slow": b, "stop": c}, Figures(**figures(sharpe=a - b / 10 + c))) for a in x for b in y for c in z if a < b
    ]


def run(
    kind: str = "sweep", *, axes: tuple[str, ...] = ("fast", "slow"), verdict: Any = None, **changes: Any
) -> dict[str, Any]:
    sets = tried([1.0, 2.0, 3.0], [2.0, 4.0, 8.0])
    day = [f"2021-{month:02}-01T21:00:00+00:00" for month in range(3, 10)]
    curve = [
        {"at": at, "equity": 1e5 + 500 * i, "drawdown": 0.01 * (i % 3), "buy_and_hold": 1e5 - 100 * i}
        for i, at in enumerate(day)
    ]
    best = {"values": sets[0][0], **{part: figures() for part in ("train", "validation", "holdout")}}
    other = {"values": sets[1][0], **{part: figures(-0.2) for part in ("train", "validation")}}
    result = {
        "strategy": "sma_cross",
        "best": best,
        "table": [best, other],
        "verdict": verdict,
        "dataset": "ab" * 32,
        "parts": {
            name: {"start": day[i], "end": day[i + 2], "bars": 40}
            for name, i in (("train", 0), ("validation", 2), ("holdout", 4))
        },
        "trials": {"evaluated": len(sets), "counted_on_these_bars": 1234},
        "heat_map": heat_map(sets, axes),
        "equity_curve": curve,
        "assumptions": {"slippage_bps": 2.0},
    }
    if kind == "optimize":
        result.pop("heat_map")
    request = {"capital": 1e5, "symbols": ["AAPL", "SPY"], "timeframe": "1Day"}
    return {
        "run_id": "r-1", "kind": kind, "state": "done", "request": request, "result": result | changes,
        "created_at": FIRST, "finished_at": FIRST,
    }  # fmt: skip


def said(text: str) -> str:
    return " ".join("".join(Outline(text).text).split())


def test_the_page_of_a_sweep_stands_alone_and_has_every_part() -> None:
    text = research_page(run(verdict=VERDICT))
    for tag, attributes in Outline(text).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not attributes.keys() & {"src", "srcset", "action"} and not [
            name for name in attributes if name.startswith("on")
        ]
    assert [a["content"] for _, a in Outline(text).tags if a.get("http-equiv") == "Content-Security-Policy"] == [policy()]
    for part in (
        "Sweep of sma_cross", "WARN The evidence is not enough", "fast 1, slow 2", "7 sets were tried here",
            "1,234 configurations",
        "Equity", "buy and hold", "Drawdown", "searched", "chosen on", "held out", "Heat map",
            "fast to the right, slow upwards",
        "The best", "2021-03-01 to 2021-05-01", "What was assumed", "ab" * 32, "2 symbols: AAPL, SPY",
    ):  # fmt: skip
        assert part in said(text), part
    assert text.count("data-part=") == len(FIGURES) == text.count('href="#chosen"')
    assert text.count("<title>fast") == len(FIGURES) * 7


def test_a_search_has_no_map_and_says_that_nobody_judged() -> None:
    text = said(research_page(run("optimize")))
    assert "Search in sma_cross" in text and "was not checked for luck" in text and "Heat map" not in text
    assert Image.open(io.BytesIO(research_picture(run("optimize")))).format == "PNG"


SIZES = st.sampled_from([1, 2, 14, 15, 41, 83])


@given(
    x=SIZES,
    y=SIZES,
    z=st.integers(1, 2),
    axes=st.sampled_from([("fast",), ("fast", "slow"), ("slow", "fast"), ("stop", "fast")]),
)
@settings(max_examples=12, deadline=None)
def test_maps_of_any_size_stay_small_and_hold_what_was_chosen(x: int, y: int, z: int, axes: tuple[str, ...]) -> None:
    sets = tried([0.1 * i for i in range(x)], [50.0 + i for i in range(y)], tuple(float(i) for i in range(z)))
    made = run()
    made["result"] |= {"heat_map": heat_map(sets, axes), "best": made["result"]["best"] | {"values": sets[-1][0]}}
    for name, chart in research_charts.heat_maps(made["result"]).items():
        assert 1 <= len(chart.blocks) <= 1600, name
        assert all(0 <= b.left < b.right <= 1.0000001 and -1e-9 <= b.top < b.base <= 1.0000001 for b in chart.blocks)
        (mark,) = chart.marks
        inside = [b for b in chart.blocks if b.left < mark.at[0] < b.right and b.top < mark.at[1] < b.base]
        assert len(inside) == 1 and all(0 <= b.opacity <= 1 for b in chart.blocks)


@pytest.mark.parametrize("count", [1, 83])
def test_a_map_has_a_picture(count: int) -> None:
    sets = tried([0.1 * i for i in range(count)], [50.0 + i for i in range(count)])
    made = run()
    made["result"] |= {"heat_map": heat_map(sets, ("fast", "slow")), "best": made["result"]["best"] | {"values": sets[-1][0]}}
    assert Image.open(io.BytesIO(research_picture(made))).width == 1200
    assert len(research_page(made)) < 1_500_000


def test_a_cell_tells_of_the_best_over_the_other_parameters() -> None:
    sets = tried([1.0, 2.0], [4.0, 8.0], (0.0, 3.0, 1.0))
    idle = ({"fast": 2.0, "slow": 8.0, "stop": 9.0}, Figures(**figures(sharpe=9.0, trades=0)))
    found = heat_map([*sets, idle], ("fast", "slow"))
    assert found["best_over"] == ["stop"]
    assert found["figures"]["sharpe"] == [[3.6, 4.6], [3.2, 4.2]]  # the set that never traded hides none that did
    assert found["figures"]["trades"] == [[12, 12], [12, 12]]
    assert "best Sharpe ratio over stop, which flatters" in research_charts.told_of({"heat_map": found})
    alone = heat_map([idle], ("fast",))
    assert alone["figures"]["win_rate"] == [[None]] and (alone["y"], alone["y_values"], alone["best_over"]) == (
        None,
        [None],
        [],
    )


def test_names_from_outside_stay_text() -> None:
    made = run(verdict=VERDICT | {"reasons": [EVIL]}, strategy=EVIL)
    made["request"]["symbols"] = [EVIL]
    made["result"]["assumptions"][EVIL] = EVIL
    for row in made["result"]["table"]:
        row["values"][EVIL] = row["values"]["fast"]
    outline = Outline(research_page(made))
    assert outline.count("script") == 1 and outline.count("img") == 0 and "".join(outline.text).count(EVIL) >= 5
    research_picture(made)


def test_what_cannot_be_drawn_is_refused_with_the_reason() -> None:
    waiting = run() | {"result": None, "state": "open"}
    old = run()
    old["result"]["heat_map"] = {"sharpe": [[0.1]]}
    for made, reason in ((waiting, "is open"), (old, "run it again"), (run() | {"kind": "walk_forward"}, "research show r-1")):
        for render in (research_page, research_picture):
            with pytest.raises(Conflict, match=reason):
                render(made)


def test_a_curve_too_short_is_left_out() -> None:
    short = run(equity_curve=run()["result"]["equity_curve"][:1])
    assert "Equity" not in said(research_page(short)) and research_picture(short)


def test_windows_of_a_walk_forward_are_drawn() -> None:
    found = backtest(verdict=VERDICT) | {"params": {"strategy": "macd", "symbols": ["AAPL"]}}
    span = {"start": "2021-04-01T21:00:00+00:00", "end": "2021-06-01T21:00:00+00:00"}
    chosen = {"train": span, "values": {"fast": 5}, "in_sample": {"sharpe": 1.25}, "out_of_sample": {"sharpe": -0.5}}
    rows = [{"test": span, "account_return": -0.02} | chosen, {"test": span, "account_return": 0.01} | chosen]
    told = {"mean_sharpe_in_sample": 1.25, "mean_sharpe_out_of_sample": -0.5, "kept": None, "windows_with_a_loss": 2}
    found["result"]["walk_forward"] = {"windows": rows, "degradation": told}
    text = page(found)
    assert "Sharpe ratio of each window" in said(text) and "−0.50 afterwards" in text and text.count('class="bound"') == 2
    found["result"]["walk_forward"] = {
        "windows": [{"test": span, "account_return": r} for r in (0.1, None)],
        "degradation": None,
    }
    assert "Return of each window" in said(page(found)) and picture(found)
    found["result"]["walk_forward"]["windows"][0]["account_return"] = None
    assert "of each window" not in said(page(found))
