"""Accounts put together from settings."""

from __future__ import annotations

from app.config import Settings, TradingMode
from app.domain.ports import Clock
from app.services.accounts.accounts import Accounts
from app.services.accounts.gate import Gate
from app.services.accounts.login_limits import LoginLimits
from app.services.accounts.logins import SESSION_DAYS, Logins
from app.services.accounts.passwords import Passwords
from app.services.accounts.tokens import ACCESS, REFRESH, Signer
from app.services.database_service import DatabaseService


def make_accounts(settings: Settings, database: DatabaseService, clock: Clock, passwords: Passwords | None = None) -> Accounts:
    """Accounts as these settings want them. passwords: of other costs than the default."""
    hashing = passwords or Passwords()
    keys = [key.get_secret_value() for key in (settings.secret_key, settings.secret_key_previous) if key is not None]
    signer = Signer(keys=keys, longest_seconds={ACCESS: settings.access_token_seconds, REFRESH: SESSION_DAYS * 86_400})
    gate = Gate(database=database, clock=clock, signer=signer)
    logins = Logins(
        database=database,
        clock=clock,
        passwords=hashing,
        signer=signer,
        limits=LoginLimits(database=database, clock=clock),
        gate=gate,
        access_seconds=settings.access_token_seconds,
        demands_totp=settings.trading_mode is TradingMode.LIVE,
    )
    return Accounts(database=database, clock=clock, passwords=hashing, gate=gate, logins=logins, local=settings.is_local)
