"""Alpaca's own OpenAPI files as a judge of answers. They come with the wheel `alpaca-mcp-server`, of which nothing is run."""

import json
import re
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from urllib.parse import parse_qsl

import jsonschema_rs
import pytest

ABSENT = "Alpaca's OpenAPI files are absent: pip install --no-deps --require-hashes -r requirements-judges.txt"
# Documented, yet not part of every answer: fields of other asset classes, and those whose description says when they are there.
CONDITIONAL = {
    "Assets": {"min_order_size", "min_trade_increment", "price_increment"},
    "Position": {"avg_entry_swap_rate", "swap_rate", "prev_swap_rate", "usd"},
    "Order": {"ratio_qty", "group_id", "group_role"},
    "OrderLeg": {"ratio_qty", "group_id", "group_role"},
    "PortfolioHistory": {"base_value_asof"},
    "NonTradeActivities": {"cusip", "group_id", "symbol", "qty", "per_share_amount", "activity_sub_type"},
    "PositionClosedResponse": {"body"},
    "calendar_day": {"lunch_start", "lunch_end"},
    "public_market": {"bic"},
    "stock_trade": {"u"},
}
# Where the file contradicts itself: (last part of the path, what the check says).
CONTRADICTIONS = (("date", "date-time"), ("content", "shorter than 1"))  # news is sent without content unless it is asked for


def available():
    try:
        return any(str(name).endswith("trading-api.json") for name in files("alpaca-mcp-server") or ())
    except PackageNotFoundError:
        return False


needed = pytest.mark.skipif(not available(), reason=ABSENT)


@lru_cache
def document(name):
    """name: trading or market-data."""
    found = next(f for f in files("alpaca-mcp-server") if str(f).endswith(f"{name}-api.json"))
    return json.loads(found.locate().read_text(encoding="utf-8"))


@lru_cache
def registry():
    return jsonschema_rs.Registry([(f"urn:{name}", document(name)) for name in ("trading", "market-data")])


@lru_cache
def operations():
    """(method, path as documented) -> (file, pattern of paths, documented statuses), the least general pattern first."""
    found = {}
    for name in ("trading", "market-data"):
        for path, item in document(name)["paths"].items():
            pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
            for method in {"get", "post", "put", "patch", "delete"} & set(item):
                found[method.upper(), path] = (name, pattern, item[method]["responses"])
    return dict(sorted(found.items(), key=lambda pair: pair[0][1].count("{")))


def operation_of(method, path):
    """The documented operation that a request is; None when there is none."""
    for key, (_, pattern, _) in operations().items():
        if key[0] == method and pattern.fullmatch(path):
            return key
    return None


def schema_of(operation, status):
    """Pointer into the files of the documented body; None when no body is documented, KeyError when the status is not."""
    name, _, responses = operations()[operation]
    response = responses[str(status)]
    if "$ref" in response or "application/json" not in response.get("content", {}):
        return None
    if operation[1].startswith("/v2/account/activities"):
        return name, None  # a oneOf or anyOf whose sides both allow anything; rows are judged by their own type
    method, path = operation[0].lower(), operation[1].replace("~", "~0").replace("/", "~1")
    return name, f"#/paths/{path}/{method}/responses/{status}/content/application~1json/schema"


def faults(operation, status, content):
    """What is wrong with an answer, as text; empty when it is as documented."""
    _, _, responses = operations()[operation]
    if status >= 400:
        wrong = not (isinstance(content, dict) and isinstance(content.get("code"), int) and content.get("message"))
        if wrong:
            return [f"{status}: an error's body has code and message, got {content!r}"]
        return []
    if str(status) not in responses:
        return [f"status {status} is not documented"]
    pointer = schema_of(operation, status)
    if pointer is None:
        return []
    if pointer[1] is None:
        return [fault for row in content for fault in _activity_faults(row)]
    return _schema_faults(*pointer, content)


def _activity_faults(row):
    kind = "TradingActivities" if row["activity_type"] == "FILL" else "NonTradeActivities"
    return _schema_faults("trading", f"#/components/schemas/{kind}", row)


def _schema_faults(name, pointer, content):
    errors = [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}"
        for error in _validator(name, pointer).iter_errors(content)
        if not any(list(error.instance_path)[-1:] == [field] and what in error.message for field, what in CONTRADICTIONS)
    ]
    return errors + list(_missing(name, {"$ref": pointer}, content, ""))


@lru_cache
def _validator(name, pointer):
    reference = f"urn:{name}{pointer}".replace("{", "%7B").replace("}", "%7D")
    return jsonschema_rs.Draft202012Validator({"$ref": reference}, registry=registry(), validate_formats=True)


def _missing(name, schema, value, where, title=""):
    """Documented fields that are not there, at every depth."""
    while "$ref" in schema:
        title = schema["$ref"].rsplit("/", 1)[-1]
        schema = _resolve(document(name), schema["$ref"])
    for part in schema.get("allOf", ()):
        yield from _missing(name, part, value, where, title)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _missing(name, schema.get("items", {}), item, f"{where}/{index}")
    elif isinstance(value, dict):
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties")
        for field, inner in properties.items():
            if field not in value:
                if field not in CONDITIONAL.get(title, ()) and not (field == "currency" and title.startswith("stock_")):
                    yield f"{where}/{field}: documented ({title}) but absent"
            elif value[field] is not None:
                yield from _missing(name, inner, value[field], f"{where}/{field}")
        if isinstance(extra, dict):
            for field in value.keys() - properties.keys():
                yield from _missing(name, extra, value[field], f"{where}/{field}")


def _resolve(node, pointer):
    for part in pointer.removeprefix("#/").split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


class Judge:
    """An ASGI application around another: every answer that passes through is judged; what is wrong is kept.

    seen: (method, documented path, status). wrong: readable complaints.
    """

    def __init__(self, app):
        self.app = app
        self.seen = set()
        self.wrong = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or not available():
            await self.app(scope, receive, send)
            return
        status, parts = 0, []

        async def listen(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    self._judge(scope, status, b"".join(parts))  # before the client can know the answer
            await send(message)

        await self.app(scope, receive, listen)

    def _judge(self, scope, status, body):
        operation = operation_of(scope["method"], scope["path"])
        if operation is None or status in {405}:
            return
        self.seen.add((*operation, status))
        try:
            content = json.loads(body) if body else None
        except ValueError:
            self.wrong.append(f"{operation}: {status} answers no JSON: {body[:80]!r}")
            return
        asked = dict(parse_qsl(scope["query_string"].decode()))
        self.wrong += [f"{operation} {asked}: {fault}" for fault in faults(operation, status, content)]
