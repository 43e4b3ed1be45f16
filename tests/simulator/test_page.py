"""The page about the simulated exchange tells the truth: every route and fault is on it, and its Python example runs."""

import re
import runpy
from pathlib import Path

import requests

from app.simulator.accounts.order_request import parse_json
from app.simulator.faults.board import OTHER_FAULTS, REQUEST_FAULTS, STREAM_FAULTS
from app.simulator.faults.fault_request import parse_fault

PAGE = (Path(__file__).parents[2] / "docs" / "simulated-exchange.md").read_text(encoding="utf-8")


def test_every_route_is_on_the_page(generated):
    for route in generated.app.routes:
        assert re.search(rf"`[^`]*{re.escape(route.path)}[^`]*`", PAGE), f"{route.path} is not on the page"


def test_every_route_on_the_page_exists(generated):
    known = [route.path_regex for route in generated.app.routes]
    for path in re.findall(r"`(?:GET |POST |PUT |DELETE )?(/(?:v\d|sim)/[^`?*]*)`", PAGE):
        assert any(pattern.match(path) for pattern in known), f"{path} is on the page but nowhere else"


def test_every_fault_is_on_the_page_and_every_recipe_is_one():
    for what in (*REQUEST_FAULTS, *STREAM_FAULTS, *OTHER_FAULTS):
        assert f"`{what}`" in PAGE, what
    recipes = re.findall(r"^\$F '(.*?)'", PAGE, flags=re.MULTILINE)
    assert len(recipes) > 8
    for recipe in recipes:
        parse_fault(parse_json(recipe.encode()))


def test_the_example_runs(server, tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[1]
    script = tmp_path / "example.py"
    script.write_text(code.replace("http://127.0.0.1:5801", server))
    made = runpy.run_path(str(script))
    assert (made["order"].symbol, made["order"].status) == ("AAPL", "new")
    assert len(made["bars"]["AAPL"]) == 20
    assert requests.get(f"{server}/sim/ledger", timeout=10).json()["orders"][0]["id"] == str(made["order"].id)
