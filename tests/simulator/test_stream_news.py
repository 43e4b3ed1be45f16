"""The news stream: articles when they are published, and never before."""

from datetime import UTC, datetime, timedelta

import pytest
from alpaca.data.live import NewsDataStream

from .conftest import HEAD, OPEN, minute_rows
from .streaming import Client, exchange
from .test_stream_clients import run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
LINES = [
    ("2024-01-02T14:35:00Z", "ACME", "one"),
    ("2024-01-02T22:00:00Z", "ACME BOLT", "two"),
    ("2024-01-20T12:00:00Z", "", "three"),
]


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tape")
    bars, news = folder / "tape.csv", folder / "news.csv"
    before = datetime(2023, 12, 29, 20, 59, tzinfo=UTC)
    lines = [line for s in ("ACME", "BOLT") for line in minute_rows(s, [100], before) + minute_rows(s, [100] * 60)]
    bars.write_text(HEAD + "".join(lines))
    news.write_text("time,symbols,headline\n" + "".join(",".join(line) + "\n" for line in LINES))
    with exchange(data=bars, news=news, start=OPEN.date()) as running:
        yield running


@pytest.fixture
def fresh(market):
    market("POST", "/sim/reset")
    market("GET", "/v2/account")
    return market


@pytest.mark.parametrize(
    ("symbols", "told"), [(["*"], ["one", "two", "three"]), (["BOLT"], ["two"]), (["ACME"], ["one", "two"])]
)
def test_articles_come_when_they_are_published(fresh, symbols, told):
    with fresh.data("/v1beta1/news", news=symbols) as client:
        assert client.seen[-1] == {"T": "subscription", "news": symbols}
        fresh.move(to="2024-01-02T14:34:59Z")
        fresh.move(to="2024-01-02T14:35:00Z")
        fresh.move(to="2024-02-01T12:00:00Z")
        client.heard(3 + len(told))
        articles = client.of("n")
        assert [a["headline"] for a in articles] == told
        listed = fresh("GET", "/v1beta1/news", sort="asc", include_content="true", start="2024-01-01T00:00:00Z")["news"]
        assert [{"T": "n", **a} for a in listed if a["headline"] in told] == articles


def test_a_connection_to_news_is_another_than_one_to_bars(fresh):
    with fresh.data("/v1beta1/news", news=["*"]) as news, fresh.data(bars=["*"]) as bars:
        with fresh.open("/v1beta1/news") as second:
            refused = Client(second)
            refused.say(action="auth", key="key", secret="secret")
            refused.end()
            assert refused.seen[-1]["code"] == 406
        fresh.move(advance_seconds=300)
        news.heard(4)
        bars.bars(10)
        assert not news.of("b")
        assert not bars.of("n")


def test_alpaca_py_reads_the_news(fresh):
    stream, seen = NewsDataStream("key", "secret", url_override=fresh.address.replace("http", "ws") + "/v1beta1/news"), []

    async def keep(article):
        seen.append(article)

    stream.subscribe_news(keep, "*")
    with run(fresh, stream):
        fresh.until(lambda: fresh.hub.followed)
        fresh.move(advance_seconds=300)
        fresh.until(lambda: len(seen) == 1)
        assert (seen[0].headline, seen[0].symbols, seen[0].created_at) == ("one", ["ACME"], OPEN + timedelta(minutes=5))
