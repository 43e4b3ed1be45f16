"""Pairs of tapes with one past and two futures, and everything a client may look at.

The look-ahead law: whatever is asked at a clock t, two exchanges whose tapes agree up to t give the same answer. Add a path to
`LOOKS` and the law covers it.
"""

import random
from datetime import UTC, date, datetime, timedelta

from app.runtime.calendar import new_york_calendar
from app.simulator.server import SimulatorOptions, build_app

from .conftest import HEAD, Local

SYMBOLS = ("AAA", "BBB")
# Five sessions with a half day and a holiday among them, and daily bars of the weeks before.
SESSIONS = new_york_calendar().between(date(2024, 6, 28), date(2024, 7, 5))
HISTORY = new_york_calendar().between(date(2024, 4, 15), date(2024, 6, 27))
BEGIN, END = SESSIONS[0].opens_at, SESSIONS[-1].closes_at + timedelta(hours=5)

_ALL = {"symbols": ",".join(SYMBOLS)}
_SPAN = {"start": "2024-06-26", "end": "2024-12-31", "limit": 10_000}
_FRAMES = ("1Min", "5Min", "7Min", "45Min", "1Hour", "4Hour", "5Hour", "23Hour", "1Day", "1Week", "1Month", "3Month")
_KINDS = ("bars", "trades", "quotes")
LOOKS = [
    *(("/v2/stocks/bars", {**_ALL, **_SPAN, "timeframe": frame}) for frame in _FRAMES),
    *(("/v2/stocks/bars", {**_ALL, **_SPAN, "timeframe": frame, "adjustment": "all"}) for frame in ("15Min", "1Day", "1Month")),
    *(("/v2/stocks/AAA/bars", {**_SPAN, "timeframe": frame, "sort": "desc", "limit": 9}) for frame in ("1T", "23Hour", "1D")),
    *((f"/v2/stocks/{kind}", {**_ALL, **_SPAN}) for kind in _KINDS[1:]),
    *((f"/v2/stocks/AAA/{kind}", {**_SPAN, "sort": "desc", "limit": 50}) for kind in _KINDS[1:]),
    *((f"/v2/stocks/{kind}/latest", _ALL) for kind in _KINDS),
    *((f"/v2/stocks/{kind}/latest", {**_ALL, "feed": "delayed_sip"}) for kind in _KINDS),
    ("/v2/stocks/snapshots", _ALL),
    ("/v2/stocks/AAA/snapshot", {}),
    ("/v1beta1/news", {"limit": 50}),
    ("/v1beta1/news", {"symbols": "AAA", "sort": "asc", "limit": 2}),
    *((f"/v2/{path}", {}) for path in ("account", "positions", "assets", "clock", "account/activities")),
    ("/v2/orders", {"status": "all", "nested": "true"}),
    ("/v2/account/portfolio/history", {"period": "1M", "timeframe": "1D"}),
    ("/v2/account/portfolio/history", {"period": "1W", "timeframe": "15Min"}),
    ("/v2/account/portfolio/history", {"period": "1D", "timeframe": "1Min", "extended_hours": "true"}),
]

_ORDERS = [
    {"symbol": "AAA", "qty": "10", "side": "buy", "type": "market", "time_in_force": "gtc"},
    {"symbol": "BBB", "qty": "5", "side": "sell", "type": "market", "time_in_force": "day"},
    {"symbol": "AAA", "qty": "3", "side": "buy", "type": "limit", "limit_price": "99", "time_in_force": "gtc"},
    {"symbol": "BBB", "qty": "3", "side": "buy", "type": "stop", "stop_price": "104", "time_in_force": "gtc"},
]


def _minutes(draw, begin, end):
    """CSV lines from `begin` (included) to `end`, some minutes without a trade."""
    lines = []
    for symbol in SYMBOLS:
        price = draw.uniform(90, 110)
        at = begin
        while at < end:
            if draw.random() < 0.15:
                price *= 1 + draw.gauss(0, 0.004)
                o, c = price, price * (1 + draw.gauss(0, 0.002))
                h, lo = max(o, c) * (1 + draw.random() / 500), min(o, c) * (1 - draw.random() / 500)
                lines.append((at, _line(symbol, at.isoformat(), o, h, lo, c, draw.randrange(1, 900))))
            at += timedelta(minutes=1)
    return lines


def _line(symbol, at, o, h, lo, c, volume):
    return f"{symbol},{at},{o:.2f},{h + 0.01:.2f},{lo - 0.01:.2f},{c:.2f},{volume}\n"


def _all_minutes(draw):
    """Minutes of every session, with some before and after hours."""
    lines = []
    for session in SESSIONS:
        lines += _minutes(draw, session.opens_at - timedelta(minutes=30), session.closes_at + timedelta(minutes=30))
    return lines


def _days(draw, sessions):
    lines = []
    for symbol in SYMBOLS:
        for session in sessions:
            o, c = draw.uniform(90, 110), draw.uniform(90, 110)
            h, lo = max(o, c) + draw.random(), min(o, c) - draw.random()
            lines.append((session, _line(symbol, session.day, o, h, lo, c, draw.randrange(500, 9000))))
    return lines


def _stories(draw):
    """News and corporate actions: (known from, line)."""
    news = []
    for number in range(30):
        at = BEGIN - timedelta(days=2) + timedelta(seconds=draw.randrange(int((END - BEGIN).total_seconds()) + 2 * 86_400))
        news.append((at, f"{at.isoformat()},{draw.choice(SYMBOLS)},story {number} {draw.random()}\n"))
    actions = []
    for _ in range(4):
        day = draw.choice(SESSIONS).day
        kind = draw.choice(("split,2", "split,0.5", "dividend,1.25"))
        actions.append((day, f"{draw.choice(SYMBOLS)},{day},{kind}\n"))
    return news, actions


def two_worlds(folder, past, futures, t, *, daily):
    """Two exchanges whose tapes agree up to `t`. past, futures: seeds. daily: the sessions are daily bars, not minutes."""
    return [
        _world(folder / str(i), random.Random(past), random.Random(future), t, daily=daily) for i, future in enumerate(futures)
    ]


def _world(folder, past, future, t, *, daily):
    folder.mkdir(exist_ok=True)
    history = [line for _, line in _days(past, HISTORY)]
    today = new_york_day(t)
    if daily:
        known = {session for session in SESSIONS if session.opens_at <= t}
        before = [line for session, line in _days(past, SESSIONS) if session in known]
        after = [line for session, line in _days(future, SESSIONS) if session not in known]
        files = {"days.csv": history + before + after}
    else:
        minute = timedelta(minutes=1)
        before = [line for at, line in _all_minutes(past) if at + minute <= t]
        after = [line for at, line in _all_minutes(future) if at + minute > t]
        files = {"minutes.csv": before + after, "days.csv": history}
    stories = [_stories(draw) for draw in (past, future)]
    news = [line for at, line in stories[0][0] if at <= t] + [line for at, line in stories[1][0] if at > t]
    actions = [line for day, line in stories[0][1] if day <= today] + [line for day, line in stories[1][1] if day > today]
    for name, lines in files.items():
        (folder / name).write_text(HEAD + "".join(lines))
    (folder / "news.csv").write_text("time,symbols,headline\n" + "".join(news))
    (folder / "actions.csv").write_text("symbol,ex_date,kind,value\n" + "".join(actions))
    options = SimulatorOptions(
        data=tuple(folder / name for name in files),
        news=folder / "news.csv",
        actions=folder / "actions.csv",
        start=SESSIONS[0].day,
    )
    return Local(build_app(options))


def new_york_day(at):
    """The New York date of an instant in summer."""
    return (at.astimezone(UTC) - timedelta(hours=4)).date()


def looked_at(call, stops):
    """Trade a little, move the clock along `stops`, and look at everything: {(path, parameters): answer}."""
    for number, order in enumerate(_ORDERS):
        call("POST", "/v2/orders", body={**order, "client_order_id": f"order {number}"})
    for stop in stops:
        status, answer = call("POST", "/sim/clock", body={"to": stop.isoformat()})
        assert status == 200, answer
    return {
        (path, *params.items()): call("GET", path, params={k: v for k, v in params.items() if v != ""})
        for path, params in LOOKS
    }


def moment(seconds):
    """An instant of the replay."""
    return datetime.fromtimestamp(BEGIN.timestamp() + seconds, UTC)
