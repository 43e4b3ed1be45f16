"""Every request passes here: who sends it, and whether it may."""

from __future__ import annotations

import re

import structlog
from flask import Flask, Response, g, request

from app.domain.account import Caller
from app.domain.errors import AlphaTraderError, Unauthorized
from app.web.access import Rule, demand_rules, demand_scope, rule_of
from app.web.address import caller_address
from app.web.blueprint import services

log = structlog.get_logger(__name__)

_BEARER = re.compile(r"[Bb]earer ([A-Za-z0-9._~-]{1,2048})", re.ASCII)


def install(app: Flask) -> None:
    """Let `app` ask every caller for its token."""
    app.before_request(_demand_access)
    app.after_request(_note)


def check_rules(app: Flask) -> None:
    """ConfigurationError unless each route of `app` says who may call it."""
    demand_rules({rule.endpoint for rule in app.url_map.iter_rules()})


def current_caller() -> Caller:
    """Who sent this request. Not for public routes."""
    caller: Caller = g.caller
    return caller


def current_user() -> str:
    """The name of the caller, as recorded with what it does."""
    return current_caller().actor


def address() -> str:
    """From where this request comes."""
    return caller_address(services().settings.trusted_proxies)


def _demand_access() -> None:
    # An unknown path has no endpoint and is answered 404 to everybody.
    if request.endpoint is None:
        return
    rule = rule_of(request.endpoint)
    if rule.public:
        return
    g.rule = rule
    g.caller = caller = _caller(rule)
    demand_scope(rule, caller)
    if rule.proof:
        services().accounts.logins.demand_proof(caller, risk=rule.risk)


def _caller(rule: Rule) -> Caller:
    header = request.headers.get("Authorization")
    if header is None:
        raise Unauthorized("an access token is needed", code="token_missing")
    carried = _BEARER.fullmatch(header)
    if carried is None:
        raise Unauthorized("the access token is not valid", code="token_invalid")
    gate = services().accounts.gate
    return gate.caller_in_need(carried[1]) if rule.in_need else gate.caller(carried[1], fresh=rule.proof)


def _note(response: Response) -> Response:
    """Tell the audit log what was done, once it was."""
    rule: Rule | None = g.get("rule")
    if rule is not None and rule.noted and response.status_code < 400:
        told = {"route": request.endpoint, "status": response.status_code, "task": response.headers.get("Location", "")}
        try:
            services().accounts.database.note_request(current_user(), told)
        except AlphaTraderError as fault:  # it is done already; the log of the process tells it at least
            log.error("request_not_noted", actor=current_user(), route=request.endpoint, error=fault.message)
    return response
