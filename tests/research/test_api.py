"""Research by the API: begun with one request, done by workers, read back; and everything that is refused."""

from __future__ import annotations

import pytest

from app.config import Settings
from app.domain.errors import NotFound, TryAgain
from app.domain.research import RunState
from app.services.research import runs
from app.web.factory import create_app
from tests.research import bench
from tests.research.bench import BARS
from tests.web.fakes import FakeServices

SWEEP = {"strategy": "sma_cross", "grid": {"fast": [3, 5, 8], "slow": [13, 21.0]}, "top": 3, "workers": 2}
WALK = {"strategy": "macd", "grid": {"fast": [8, 12]}, "train_bars": 250, "test_bars": 120, "start": "2015-01-02"}
SEARCH = {"strategy": "sma_cross", "bounds": {"fast": [2, 9], "slow": [10, 40.5]}, "trials": 5, "top": 2}


@pytest.fixture(scope="module")
def app():
    return create_app(FakeServices(settings=Settings(_env_file=None)))


@pytest.fixture
def services(tmp_path, database_url):
    held = FakeServices(settings=Settings(_env_file=None))
    held.research, database = bench.made(database_url, tmp_path)
    database.save_bars(BARS)
    yield held
    database.close()


@pytest.fixture
def client(app, services):
    from app.web.blueprint import EXTENSION

    app.extensions[EXTENSION] = services
    client = app.test_client()
    token = client.post("/api/auth/login", json={"username": "admin", "password": "password"}).json["access_token"]
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(("kind", "body"), [("sweeps", SWEEP), ("searches", SEARCH), ("walk-forwards", WALK)])
def test_a_run_is_begun_done_by_workers_and_read_back(client, services, kind, body):
    begun = client.post(f"/api/research/{kind}", json=body)
    assert begun.status_code == 202, begun.text
    url = begun.headers["Location"]
    assert begun.json == {"run_id": url.rsplit("/", 1)[1], "status": "queued", "status_url": url}
    assert services.tasks.rung == [(begun.json["run_id"], body.get("workers", 1))]
    seen = client.get(url).json
    assert (seen["state"], seen["done"], seen["result"]) == ("open", 0, None)
    assert (seen["request"]["strategy"], seen["request"]["data"]) == (body["strategy"], None)
    assert client.get(f"{url}/report.html").status_code == 409

    services.research.work(begun.json["run_id"])  # as a worker does
    seen = client.get(url).json
    assert seen["state"] == "done" and seen["result"]["assumptions"]
    page, picture = (client.get(f"{url}/report.{form}") for form in ("html", "png"))
    assert body["strategy"] in page.text and "script-src 'sha256-" in page.headers["Content-Security-Policy"]
    assert picture.mimetype == "image/png" and picture.data.startswith(b"\x89PNG")
    heat = client.get(f"{url}/heat-map")
    if kind == "sweeps":
        assert heat.json["y_values"] == [13, 21] and len(heat.json["figures"]["max_drawdown"][1]) == 3
    else:
        assert heat.status_code == 404
    assert ("Windows" in page.text) == (kind == "walk-forwards")


@pytest.mark.parametrize(
    ("kind", "change", "status", "says"),
    [
        ("sweeps", {"grid": {}}, 400, "grid"),
        ("sweeps", {"grid": {"fast": []}}, 400, "fast"),
        ("sweeps", {"grid": {"fast": ["5"]}}, 400, "number"),
        ("sweeps", {"grid": {"fast": [True]}}, 400, "number"),
        ("sweeps", {"grid": {"fats": [5]}}, 422, "no such parameter"),
        ("sweeps", {"capital": "100000"}, 400, "capital"),
        ("sweeps", {"top": 2.5}, 400, "top"),
        ("sweeps", {"start": 0}, 400, "a day such as"),
        ("sweeps", {"start": "2020-01-01T00:00:00"}, 400, "a day such as"),
        ("sweeps", {"start": "2020-02-30"}, 400, "start"),
        ("sweeps", {"start": "2020-02-03", "end": "2020-02-03"}, 400, "swap or widen"),
        ("sweeps", {"workers": 0}, 400, "workers"),
        ("sweeps", {"colour": 1}, 400, "colour"),
        ("sweeps", {"symbols": ["../etc"]}, 400, "symbols"),
        ("sweeps", {"symbols": ["NONE"]}, 422, "no 1Day bars of NONE"),
        ("sweeps", {"timeframe": "2Min"}, 400, "timeframe"),
        ("sweeps", {"strategy": "sma_crss"}, 404, "did you mean sma_cross"),
        ("sweeps", {"data": "/etc/passwd"}, 422, "command line alone"),
        ("searches", {"study": "another"}, 400, "study"),
        ("searches", {"bounds": {"fast": [9, 2]}}, 422, "must lie within"),
        ("walk-forwards", {"anchored": "yes"}, 400, "anchored"),
        ("walk-forwards", {"fill": "close"}, 422, "next open"),
        ("walk-forwards", {"train_bars": 5000}, 422, "bars"),
    ],
)
def test_what_cannot_be_begun_is_refused_and_nothing_is_left(client, services, kind, change, status, says):
    whole = {"sweeps": SWEEP, "searches": SEARCH, "walk-forwards": WALK}[kind]
    refused = client.post(f"/api/research/{kind}", json=whole | change)
    assert refused.status_code == status, refused.text
    assert says in refused.text
    assert services.research.runs() == [] and services.tasks.rung == []


def test_without_a_queue_nothing_is_begun(client, services):
    services.tasks.fault = TryAgain("the task queue cannot be reached", code="queue_unavailable")
    assert client.post("/api/research/sweeps", json=SWEEP).status_code == 503
    (run,) = services.research.runs()
    assert run.state is RunState.CANCELLED


def test_too_many_runs_at_once_are_refused_until_some_have_ended(client, services, monkeypatch):
    monkeypatch.setattr(runs, "MOST_OPEN", 2)
    first, _ = (client.post("/api/research/sweeps", json=SWEEP) for _ in range(2))
    assert client.post("/api/research/sweeps", json=SWEEP).json["error"]["code"] == "queue_full"
    assert client.post(f"{first.headers['Location']}/cancel").json["state"] == "cancelled"
    assert client.post("/api/research/sweeps", json=SWEEP).status_code == 202


def test_a_backtest_that_is_gone_is_not_found(client, services, monkeypatch):
    run_id = services.research.start("walk_forward", WALK)
    services.research.work(run_id)

    def gone(run):
        raise NotFound(f"no backtest {run.run_id}")

    monkeypatch.setattr(services.research, "backtest", gone)
    assert client.get(f"/api/research/{run_id}/report.html").status_code == 404
