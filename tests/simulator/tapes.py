"""Exchanges on hand-written files, and short words for what the tests of the data routes ask."""

from datetime import date

from app.runtime.calendar import new_york_calendar
from app.simulator.server import SimulatorOptions, build_app

from .conftest import HEAD, OPEN, Local

DAY = OPEN.date()


def world(tmp_path, files, start=DAY, **options):
    """An exchange on CSV files: {name: lines}."""
    for name, lines in files.items():
        (tmp_path / name).write_text((HEAD if "," in lines[0] else "") + "".join(lines))
    return Local(build_app(SimulatorOptions(data=tuple(tmp_path / name for name in files), start=start, **options)))


def bars(call, frame, symbol="ACME", **query):
    params = {"timeframe": frame, "start": "2020-01-01", "limit": 10_000, **query}
    status, answer = call("GET", f"/v2/stocks/{symbol}/bars", params=params)
    assert status == 200, answer
    return answer["bars"]


def to(call, at):
    status, answer = call("POST", "/sim/clock", body={"to": at})
    assert status == 200, answer


def day_rows(first, closes, symbol="ACME"):
    sessions = new_york_calendar().between(first, date(2030, 1, 1))
    return [f"{symbol},{s.day},{c},{c + 1},{c - 1},{c},1000\n" for s, c in zip(sessions, closes, strict=False)]


def following(token):
    """The parameter that asks for the next page."""
    return {} if token is None else {"page_token": token}
