"""Where the clock of a simulated run stops: laws over the real calendar, half days and holidays included."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.local.exchange_link import ExchangeLink
from app.local.slots import StopKind, session_slots, slot_of, stops
from app.runtime.calendar import NEW_YORK, new_york_calendar

CALENDAR = new_york_calendar(date(2010, 1, 4))
LENGTHS = st.one_of(st.sampled_from([1, 60, 300, 600, 900, 3600, 86_400]), st.integers(1, 86_400))


@settings(max_examples=60, deadline=None)
@given(first=st.dates(date(2010, 1, 4), date(2025, 12, 1)), seconds=LENGTHS.filter(lambda n: n >= 30), nightly=st.booleans())
def test_stops_are_ordered_inside_sessions_and_one_per_slot(first, seconds, nightly):
    sessions = CALENDAR.between(first, first + timedelta(days=12))
    plan = list(stops(sessions, cycle_seconds=seconds, after=datetime(2009, 1, 1, tzinfo=UTC), nightly=nightly))
    assert [stop.at for stop in plan] == sorted({stop.at for stop in plan})
    cycles = [stop.at for stop in plan if stop.kind is StopKind.CYCLE]
    assert all(CALENDAR.is_open(at) for at in cycles)
    assert all(CALENDAR.session_at(at).opens_at < at for at in cycles)
    assert len({slot_of(at, seconds) for at in cycles}) == len(cycles)
    assert {CALENDAR.session_at(at).day for at in cycles} == {session.day for session in sessions}  # every session has one
    assert [stop.at for stop in plan if stop.kind is StopKind.CLOSE] == [session.closes_at for session in sessions]
    assert len([stop for stop in plan if stop.kind is StopKind.NIGHT]) == (len(sessions) if nightly else 0)


@settings(max_examples=40, deadline=None)
@given(first=st.dates(date(2015, 1, 5), date(2024, 12, 1)), cut=st.integers(0, 300), seconds=st.sampled_from([600, 1800, 7000]))
def test_resuming_continues_where_it_stopped(first, cut, seconds):
    sessions = CALENDAR.between(first, first + timedelta(days=10))
    whole = list(stops(sessions, cycle_seconds=seconds, after=datetime(2009, 1, 1, tzinfo=UTC), nightly=True))
    cut = min(cut, len(whole) - 1)
    assert list(stops(sessions, cycle_seconds=seconds, after=whole[cut].at, nightly=True)) == whole[cut + 1 :]


@pytest.mark.parametrize(
    ("day", "first", "last", "count"),
    [
        ("2024-01-03", "09:40", "15:50", 38),
        ("2024-07-03", "09:40", "12:50", 20),  # closes at 13:00
        ("2024-11-29", "09:40", "12:50", 20),
        ("2024-03-11", "09:40", "15:50", 38),  # first session of summer time
    ],
)
def test_ten_minute_slots_of_a_day(day, first, last, count):
    slots = list(session_slots(CALENDAR.between(date.fromisoformat(day), date.fromisoformat(day))[0], 600))
    assert (f"{slots[0].astimezone(NEW_YORK):%H:%M}", f"{slots[-1].astimezone(NEW_YORK):%H:%M}", len(slots)) == (
        first,
        last,
        count,
    )


def test_sessions_and_clock_as_the_exchange_tells_them():
    moved = []

    class Exchange(BaseHTTPRequestHandler):
        def _answer(self, status, value):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def do_GET(self):
            if self.path.startswith("/v2/clock"):
                self._answer(200, {"timestamp": "2024-07-03T09:30:00-04:00"})
            else:
                self._answer(200, [{"date": "2024-07-03", "open": "09:30", "close": "13:00"}])

        def do_POST(self):
            moved.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer(422, {"code": 1, "message": "the data ends there"})

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        link = ExchangeLink(f"http://127.0.0.1:{server.server_port}")
        assert link.now() == datetime(2024, 7, 3, 13, 30, tzinfo=UTC)
        assert link.sessions(date(2024, 7, 3), date(2024, 7, 3)) == CALENDAR.between(date(2024, 7, 3), date(2024, 7, 3))
        with pytest.raises(Exception, match="the data ends there"):
            link.move(datetime(2024, 7, 3, 13, 40, tzinfo=UTC))
        assert moved == [{"to": "2024-07-03T13:40:00+00:00"}]
    finally:
        server.shutdown()
        server.server_close()
    assert not link.is_healthy()
