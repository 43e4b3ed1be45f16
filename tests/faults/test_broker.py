"""Answers of the broker (rows B): what is unclear is looked up, what is refused is heeded, nothing is sent twice."""

from __future__ import annotations

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_wire import LOCKED_OUT_SECONDS, MOST_ANSWER_BYTES, AlpacaWire, harden
from app.brokers.rate_limit import TokenBucket
from app.config import Settings
from app.domain.errors import ConfigurationError, Conflict, Refused, TryAgain
from app.domain.order_state import OrderState
from app.risk.limits import RiskLimits
from tests.databases import HandClock
from tests.faults.bench import CALM, RISING, Bench
from tests.trading.exchange import assert_limits_held

ORDERS = {"method": "POST", "path": "/v2/orders"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"what": "hang", "seconds": 2.5}, marks=pytest.mark.row("B01")),
        pytest.param({"what": "status", "status": 504}, marks=pytest.mark.row("B02")),
        pytest.param({"what": "reset"}, marks=[pytest.mark.row("B04"), pytest.mark.long]),
        pytest.param({"what": "truncate"}, marks=pytest.mark.row("B04")),
        pytest.param({"what": "html"}, marks=[pytest.mark.row("B10"), pytest.mark.long]),
        pytest.param({"what": "empty"}, marks=[pytest.mark.row("B10"), pytest.mark.long]),
        pytest.param({"what": "redirect", "status": 307}, marks=pytest.mark.row("B11")),
    ],
    ids=lambda fault: fault["what"],
)
@pytest.mark.row("B01", "B02", "B04", "B10", "B11")
def test_an_order_taken_without_a_readable_answer_is_adopted_and_never_sent_again(bench: Bench, fault: dict[str, Any]) -> None:
    brokers: list[Any] = []
    bench.start(CALM, wrap=lambda broker: brokers.append(broker) or broker)
    bench.cycle()
    if fault["what"] == "hang":  # with all that is slow behind us
        harden(brokers[0]._client, 2.0)
    bench.expect({"AAPL": 0.03, "MSFT": 0.03})
    bench.fault(**ORDERS, when="after", times=2, **fault)
    assert bench.cycle().orders == 2
    assert bench.states() == {OrderState.OPEN: 2}
    bench.cycle()
    assert len(bench.at_venue("buy")) == 2
    assert set(bench.posts().values()) == {1}
    bench.assert_books_agree()


@pytest.mark.row("B01")
def test_the_longest_wait_is_bounded_by_the_settings() -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, alpaca_timeout_seconds=31)


class Elsewhere:
    """A server that must never hear of us."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(self.path)
                self.send_error(404)

            do_POST = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.mark.row("B11")
def test_a_redirect_is_never_followed(bench: Bench) -> None:
    elsewhere = Elsewhere()
    system = bench.start({"AAPL": 0.03})
    bench.fault("redirect", **ORDERS, when="after", status=307, location=f"{elsewhere.url}/v2/orders")
    assert bench.cycle().orders == 1
    bench.fault("redirect", path="/v2/account", status=302, location=f"{elsewhere.url}/v2/account", times=None)
    with pytest.raises(TryAgain):
        system.venue.account()
    assert elsewhere.heard == []
    elsewhere.server.shutdown()


@pytest.mark.row("B10")
def test_an_endless_answer_is_cut_off(bench: Bench) -> None:
    system = bench.start()
    bench.fault("huge", path="/v2/account", bytes=MOST_ANSWER_BYTES)
    with pytest.raises(TryAgain, match="bytes"):
        system.venue.account()
    assert system.venue.account().cash > 0


@pytest.mark.row("B12")
@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "https://127.0.0.1:{port}"], ids=["name", "certificate"])
def test_a_name_or_a_certificate_that_fails_is_a_bounded_failure_of_the_network(bench: Bench, url: str) -> None:
    wire = AlpacaWire(TokenBucket(6000))
    address = url.format(port=bench.exchange.url.rpartition(":")[2])
    broker = AlpacaBroker(key="k", secret="s", url=address, paper=True, timeout_seconds=2, wire=wire)
    started = time.monotonic()
    with pytest.raises(TryAgain):
        broker.account()
    assert time.monotonic() - started < 10
    assert wire.health().errors == 1


@pytest.mark.row("B05")
@pytest.mark.parametrize("header", ["reset", "retry"])
def test_the_venues_own_count_of_requests_is_heeded(bench: Bench, header: str) -> None:
    now = [0.0]
    bucket = TokenBucket(6000, monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    wire = AlpacaWire(bucket)
    broker = AlpacaBroker(key="k", secret="s", url=bench.exchange.url, paper=True, timeout_seconds=5, wire=wire)
    asks = {"Retry-After": "30"} if header == "retry" else {"X-RateLimit-Reset": str(int(time.time()) + 30)}
    bench.fault("status", status=429, path="/v2/*", headers=asks)
    with pytest.raises(TryAgain):
        broker.account()
    before = bench.reads()
    for _ in range(20):
        with pytest.raises(TryAgain, match="used up"):
            broker.account()
    assert bench.reads() == before, "a storm is not answered with a storm"
    now[0] += 28.5
    broker.account()
    assert 29 <= now[0] <= 36, "the reset, a second, and a little more"


@pytest.mark.row("B05")
def test_exits_are_sent_before_entries(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.expect({**RISING, **dict.fromkeys(held, -0.03)})
    before = len(bench.posts())
    bench.cycle()
    sent = list(bench.posts())[before:]
    sides = [next(one["side"] for one in bench.exchange.ledger()["orders"] if one["client_order_id"] == name) for name in sent]
    assert sides == sorted(sides, key=["sell", "buy"].index)
    assert sides.count("sell") == 2


@pytest.mark.row("B26")
def test_reading_leaves_a_part_of_the_budget_for_acting() -> None:
    now = [0.0]
    bucket = TokenBucket(600, monotonic=lambda: now[0], sleep=lambda _: None)
    wire = AlpacaWire(bucket)
    for _ in range(48):
        wire.read("positions", lambda: None)
    now[0] += 0.0
    with pytest.raises(TryAgain):
        bucket.take(wait_seconds=0.0, spare_fraction=0.2)
    for _ in range(12):
        bucket.take(wait_seconds=0.0)


@pytest.mark.row("B06")
def test_an_outage_stops_entries_until_it_is_over(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03})
    bench.expect(RISING)
    bench.fault("status", status=503, path="/v2/account", times=3)
    for _ in range(3):
        assert bench.cycle().outcome == "failed"
    assert bench.trading == ("REDUCING", "connectivity")
    assert len(bench.alerts("REDUCING")) == 1
    assert bench.cycle().outcome == "completed"
    bench.cycle()
    assert bench.trading[0] == "ACTIVE"
    assert set(held) <= set(bench.ledger.portfolio().positions), "nothing was sold for it"


@pytest.mark.row("B07")
def test_revoked_keys_halt_and_are_not_tried_again_at_once(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03})
    now = [0.0]
    bench.start(RISING, monotonic=lambda: now[0])
    bench.fault("unauthorized", path="/v2/*", times=None)
    before = bench.reads()
    for _ in range(30):
        with pytest.raises(Refused):
            bench.system.trading.run_cycle()
    assert bench.reads() == before + 1, "one try a minute"
    assert bench.trading == ("HALTED", "unauthorized")
    assert len(bench.alerts("unauthorized")) == 1
    bench.mend()
    now[0] += LOCKED_OUT_SECONDS
    assert bench.cycle().orders == 0, "a person has to look at the keys"
    bench.system.risk.resume("ann", "new keys")
    assert bench.cycle().orders > 0


@pytest.mark.row("B07")
def test_keys_revoked_in_the_middle_of_a_cycle_lose_no_order(bench: Bench) -> None:
    now = [0.0]
    bench.start(monotonic=lambda: now[0])
    bench.fault("unauthorized", **ORDERS, skip=2, times=1)
    assert bench.system.trading.run_cycle().orders == 2
    assert sum(bench.posts().values()) == 3
    bench.exchange.step()
    with pytest.raises(Refused):
        bench.system.trading.run_cycle()
    assert bench.trading == ("HALTED", "unauthorized")
    now[0] += LOCKED_OUT_SECONDS
    bench.cycle()
    bench.cycle()
    bench.assert_books_agree()
    assert not [one for one in bench.ledger.unsettled_intents() if one.state is OrderState.UNKNOWN]


@pytest.mark.row("B08")
@pytest.mark.parametrize("words", ["client_order_id must be unique", "doppelt", ""])
def test_a_duplicate_is_told_by_the_order_itself_not_by_the_words(bench: Bench, words: str) -> None:
    bench.start({"AAPL": 0.03})
    bench.fault("status", **ORDERS, when="after", status=422, code=1, message=words)
    assert bench.cycle().orders == 1
    assert bench.states() == {OrderState.OPEN: 1}
    bench.cycle()
    assert len(bench.at_venue("buy")) == 1


@pytest.mark.row("B15")
@pytest.mark.parametrize(
    "patch",
    [
        {"status": "considering"}, {"submitted_at": None},
        *(pytest.param(patch, marks=pytest.mark.long) for patch in (
            {"surprise": {"a": [1]}}, {"qty": 3}, {"limit_price": 101.5}, {"type": "teleport"}, {"side": "sideways"},
        )),
    ],
    ids=lambda patch: next(iter(patch)),
)  # fmt: skip
def test_an_answer_in_unknown_words_leaves_the_order_open(bench: Bench, patch: dict[str, object]) -> None:
    bench.start({"AAPL": 0.03})
    bench.fault("patch", **ORDERS, patch=patch)
    assert bench.cycle().outcome == "completed"
    (intent,) = [one for one in bench.ledger.orders() if one.parent_id is None]
    assert not intent.is_settled
    assert bench.cycle().outcome == "completed"
    assert len(bench.at_venue("buy")) == 1
    bench.assert_books_agree()


class Slow:
    """Holds the first look at the account until told to go on."""

    def __init__(self, broker: Any) -> None:
        self._broker, self.reached, self.go_on, self.first = broker, threading.Event(), threading.Event(), True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def account(self) -> Any:
        if self.first:
            self.first = False
            self.reached.set()
            assert self.go_on.wait(30)
        return self._broker.account()


@pytest.mark.row("B16")
@pytest.mark.parametrize("abandoned", [False, True], ids=["under way", "given up"])
def test_b16_a_cycle_that_lasts_into_the_next_slot_runs_alone(bench: Bench, abandoned: bool) -> None:
    held: list[Slow] = []
    clock = HandClock()
    slow = bench.start(wrap=lambda broker: held.append(Slow(broker)) or held[0], clock=clock)
    reports: list[Any] = []

    def run() -> None:
        with contextlib.suppress(Conflict):  # it was given up meanwhile
            reports.append(slow.trading.run_cycle())

    first = threading.Thread(target=run)
    first.start()
    assert held[0].reached.wait(30)
    bench.exchange.step()
    clock.forward(610 if abandoned else 60)
    other = bench.start(clock=clock)
    second = other.trading.run_cycle()
    held[0].go_on.set()
    first.join(30)
    ran = second if abandoned else reports[0]
    assert second.outcome == ("completed" if abandoned else "overlap")
    assert [report.outcome for report in reports] == ([] if abandoned else ["completed"])
    assert ran.orders == len(bench.at_venue("buy")) == 7, "one of them traded"
    assert set(bench.posts().values()) == {1}


KEYS = {
    "alpaca_api_key": "real", "alpaca_api_secret": "real", "secret_key": "7b1f0c92e4a85d36b0e97a14c853f26d",
    "admin_password": "long enough here", "alpaca_account_id": "PA1", "live_confirmation": "real money on PA1",
}  # fmt: skip
PAPER, LIVE = "https://paper-api.alpaca.markets", "https://api.alpaca.markets"


@pytest.mark.row("B17")
@pytest.mark.parametrize(
    ("mode", "paper", "url", "named"),
    [
        ("live", True, "", "ALPACA_PAPER"),
        ("paper", False, "", "ALPACA_PAPER"),
        ("simulated", False, "", "ALPACA_PAPER"),
        ("live", False, PAPER, "ALPACA_TRADING_URL"),
        ("paper", True, LIVE, "ALPACA_TRADING_URL"),
        ("simulated", True, LIVE, "ALPACA_TRADING_URL"),
        ("simulated", True, PAPER + "/", "ALPACA_TRADING_URL"),
        ("live", False, "", None),
        ("paper", True, "", None),
        ("paper", True, "http://127.0.0.1:5801", None),
    ],
)
def test_b17_mode_address_and_keys_must_agree(mode: str, paper: bool, url: str, named: str | None) -> None:
    values: dict[str, Any] = {"trading_mode": mode, "alpaca_paper": paper, "alpaca_trading_url": url, **KEYS}
    values["database_url"] = "postgresql+psycopg://localhost/ledger"
    if named is None:
        assert Settings(_env_file=None, **values).trading_mode == mode
    else:
        with pytest.raises(ValidationError, match=named):
            Settings(_env_file=None, **values)


@pytest.mark.row("B17")
@pytest.mark.parametrize("known_by", ["settings", "books"])
def test_b17_another_account_is_refused(bench: Bench, known_by: str) -> None:
    if known_by == "settings":
        bench.start(account_id="someone-else")
    else:
        bench.holding({"AAPL": 0.03})
        bench.start()
        bench.fault("patch", path="/v2/account", patch={"id": "someone-else"}, times=None)
    before = bench.posts()
    report = bench.cycle()
    assert (report.outcome, report.detail.partition(":")[0]) == ("failed", "wrong_account")
    assert bench.posts() == before
    assert bench.alerts("someone-else")
    with pytest.raises(ConfigurationError):
        bench.system.trading.portfolio_view()
    if known_by == "books":
        bench.mend()
        assert bench.cycle().outcome == "completed"


@pytest.mark.row("B18")
@pytest.mark.parametrize("flag", ["trading_blocked", pytest.param("account_blocked", marks=pytest.mark.long)])
def test_b18_a_blocked_account_enters_nothing_and_people_hear_of_it(bench: Bench, flag: str) -> None:
    bench.start()
    bench.fault("patch", path="/v2/account", patch={flag: True}, times=None)
    assert [bench.cycle().orders for _ in range(2)] == [0, 0]
    assert bench.posts().total() == 0
    assert bench.trading[0] != "ACTIVE"
    assert bench.alerts("REDUCING")
    bench.mend()
    assert [bench.cycle().orders for _ in range(3)][-1] == 7


@pytest.mark.row("B19")
@pytest.mark.parametrize(
    ("patch", "readings"),
    [
        ({"equity": "0", "cash": "0"}, 1), ({"equity": "NaN"}, 1),
        *(pytest.param(patch, readings, marks=pytest.mark.long) for patch, readings in (
            ({"equity": "0"}, 5), ({"equity": "-5000"}, 2), ({"equity": None}, 1), ({"equity": "40000"}, 3), ({"cash": "0"}, 2),
        )),
    ],
    ids=str,
)  # fmt: skip
def test_b19_absurd_figures_of_the_account_sell_nothing(bench: Bench, patch: dict[str, Any], readings: int) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03, "TSLA": 0.03})
    bench.expect(RISING)
    sold, peak, baseline = len(bench.at_venue("sell")), bench.risk.high_water_equity, bench.risk.baseline_equity
    fault = bench.fault("patch", path="/v2/account", patch=patch, keep_nulls=True, times=None)
    assert fault
    for _ in range(readings):
        assert bench.cycle().orders == 0
    assert bench.trading[0] == "REDUCING"
    assert bench.alerts("REDUCING")
    assert len(bench.at_venue("sell")) == sold
    assert (bench.risk.high_water_equity, bench.risk.baseline_equity) == (peak, baseline)
    bench.mend()
    after = [bench.cycle().orders for _ in range(4)]
    unreadable = patch == {"equity": None}  # no reading at all, and so no doubt about one
    assert sum(after) > 0 and (after[0] == 0 or unreadable), "three readings that agree end it"
    assert set(held) <= set(bench.ledger.portfolio().positions)


@pytest.mark.row("B20")
def test_b20_our_own_limits_decide_however_much_the_venue_would_lend(bench: Bench) -> None:
    bench.start()
    bench.fault("patch", path="/v2/account", patch={"buying_power": "400000", "regt_buying_power": "400000"}, times=None)
    for _ in range(4):
        bench.cycle()
    assert assert_limits_held(bench.exchange, RiskLimits()) >= 1


@pytest.mark.row("B21")
@pytest.mark.long
def test_b21_a_cancel_that_never_ends_keeps_its_symbol_and_is_told_once(bench: Bench) -> None:
    bench.start({"AAPL": 0.03, "MSFT": 0.03})
    bench.fault("stuck_cancel", method="DELETE", path="/v2/orders/{id}", times=None)
    bench.fault("halt", symbol="AAPL", times=None)
    bench.system.trading.run_cycle()
    for _ in range(5):
        bench.exchange.step()
        bench.system.trading.run_cycle()
    (stuck,) = [one for one in bench.at_venue("buy") if one["symbol"] == "AAPL"]
    assert stuck["status"] == "pending_cancel"
    assert len(bench.alerts("pending")) == 1
    bench.mend()
    bench.exchange.step()
    bench.cycle()
    assert bench.ledger.intent(stuck["client_order_id"]).state is OrderState.CANCELED, "and the symbol is free again"


@pytest.mark.row("B22")
@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.long)])
def test_b22_an_empty_list_of_positions_is_not_flat(bench: Bench, times: int) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.expect(dict.fromkeys(held, 0.03))
    buys = len(bench.at_venue("buy"))
    bench.fault("patch", path="/v2/positions", patch=[], times=times)
    for _ in range(3):
        bench.cycle()
        assert {s: p.quantity for s, p in bench.ledger.portfolio().positions.items()} == held, "no wipe"
    assert len(bench.at_venue("buy")) == buys, "no second purchase"
    assert bench.trading[0] == ("ACTIVE" if times == 1 else "REDUCING")
    for _ in range(3):
        bench.cycle()
    assert bench.trading[0] == "ACTIVE"
