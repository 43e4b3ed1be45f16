"""Who may call what: one row for each route, by endpoint. A route without a row is answered to nobody, and no app with one is
built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.account import Caller, Role, Scope
from app.domain.errors import ConfigurationError, Forbidden


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a route asks for. public: nothing. scope: of the caller's role and, if it is a script, of its token; None: a person
    who is logged in, for what is its own. proof: a person who has shown to be there in the last five minutes; risk: with real
    money by a code. noted: the audit log tells of each request, as nothing below does. in_need: must work when the database
    does not."""

    public: bool = False
    scope: Scope | None = None
    proof: bool = False
    risk: bool = False
    noted: bool = False
    in_need: bool = False

    @property
    def least_role(self) -> Role | None:
        """The least role that is let in, None: no account is needed."""
        if self.public:
            return None
        return next(role for role in Role if self.scope is None or self.scope in role.scopes)


PUBLIC = Rule(public=True)
READ = Rule(scope=Scope.READ)
RUN = Rule(scope=Scope.RUN, noted=True)
OWN = Rule()
OWN_PROVEN = Rule(proof=True)
TAKES_RISK = Rule(scope=Scope.RESUME, proof=True, risk=True)

RULES: dict[str, Rule] = {
    "auth.login": PUBLIC,
    "auth.refresh": PUBLIC,
    "auth.me": READ,
    "auth.logout": OWN,
    "auth.logout_everywhere": OWN,
    "auth.step_up": OWN,
    "auth.sessions": OWN,
    "auth.end_session": OWN,
    "auth.change_password": OWN_PROVEN,
    "auth.begin_totp": OWN_PROVEN,
    "auth.confirm_totp": OWN_PROVEN,
    "auth.remove_totp": OWN_PROVEN,
    "auth.tokens": OWN,
    "auth.add_token": OWN_PROVEN,
    "auth.revoke_token": OWN,
    "health.alive": PUBLIC,
    "health.ready": PUBLIC,
    "metrics": PUBLIC,
    "account.account_info": READ,
    "account.positions": READ,
    "account.test_connection": READ,
    "protection.protection": READ,
    "market.price": READ,
    "market.bars": READ,
    "trading.signal": READ,
    "trading.start_cycle": RUN,
    "trading.start_cycle_by_get": RUN,
    "trading.decisions": READ,
    "trading.cycles": READ,
    "trading.orders": READ,
    "trading.fills": READ,
    "trading.equity": READ,
    "learning.train": RUN,
    "learning.tune": RUN,
    "learning.models": READ,
    "backtest.run_backtest": RUN,
    "backtest.backtest": READ,
    "backtest.backtests": READ,
    "backtest.comparison": READ,
    "backtest.report_page": READ,
    "backtest.report_picture": READ,
    "risk.risk_status": READ,
    "risk.halt": Rule(scope=Scope.HALT),
    "risk.kill": Rule(scope=Scope.HALT, in_need=True),
    "risk.resume": TAKES_RISK,
    "risk.enable": TAKES_RISK,
    "dashboard.all_data": READ,
    "verdict.verdict": READ,
    "research.runs": READ,
    "research.run": READ,
    "research.begin_sweep": RUN,
    "research.begin_search": RUN,
    "research.begin_walk_forward": RUN,
    "research.heat_map": READ,
    "research.report_page": READ,
    "research.report_picture": READ,
    "research.cancel": RUN,
    "research.results": READ,
    "reconciliation.reconciliation": READ,
    "divergence.divergence": READ,
    "audit.explain": READ,
    "tasks.tasks": READ,
    "tasks.task": READ,
}
# The description of the API, without which nobody could log in; of its pages only those that are used.
PUBLIC_BLUEPRINTS = frozenset({"openapi", "swagger"})


def rule_of(endpoint: str) -> Rule:
    """The row of a route. Forbidden: it has none."""
    if endpoint.partition(".")[0] in PUBLIC_BLUEPRINTS:
        return PUBLIC
    rule = RULES.get(endpoint)
    if rule is None:
        raise Forbidden("this route has no rule of access", code="no_rule")
    return rule


def demand_rules(endpoints: Iterable[str]) -> None:
    """ConfigurationError where a route has no row, or a row no route."""
    known = {name for name in endpoints if name.partition(".")[0] not in PUBLIC_BLUEPRINTS}
    if known != RULES.keys():
        missing, idle = sorted(known - RULES.keys()), sorted(RULES.keys() - known)
        raise ConfigurationError(f"app/web/access.py: routes without a rule {missing}, rules without a route {idle}")


def demand_scope(rule: Rule, caller: Caller) -> None:
    """Forbidden unless the caller's role, and its token's scopes, hold what the route asks for."""
    if rule.scope is None:
        if caller.session_id is None:
            raise Forbidden("this is for people who are logged in, not for tokens of scripts", code="session_needed")
    elif rule.scope not in caller.scopes:
        least = rule.least_role
        raise Forbidden(
            f"this takes the role {least} and the scope {rule.scope}; yours: {caller.role}, {', '.join(sorted(caller.scopes))}",
            code="scope_missing",
            scope=rule.scope.value,
        )
