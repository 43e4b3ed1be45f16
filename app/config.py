"""Settings: one typed object, read from the environment and `.env`; every fault is reported at once.

Names are those of the requirements. Fractions are fractions (0.05 is 5 %), money is US dollars, durations say their unit.
"""

from __future__ import annotations

import json
import os
import sqlite3
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.domain.errors import ConfigurationError
from app.domain.exits import ExitPolicy
from app.risk.limits import Policy, RiskLimits
from app.runtime import refusals
from app.runtime.failpoint import parse
from app.runtime.sqlite_version import is_safe
from app.strategies.catalog import MODEL_DRIVEN

DEFAULT_WATCHLIST = (
    "AAPL MSFT GOOGL TSLA SPY NVDA AMZN META NFLX AMD JNJ UNH JPM PG CAT XOM "
    "V MA DIS HD KO PEP INTC CSCO CMCSA VZ T MRK PFE ABT NKE WMT"
)
DEFAULT_SECRET_KEY = "change-me-before-anyone-else-can-reach-this-address"  # noqa: S105 - refused outside the simulated mode
DEFAULT_ADMIN_PASSWORD = "password"  # noqa: S105 - refused outside the simulated mode
LONGEST_ACCESS_SECONDS = 900

DEFAULT_OPT_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


class TradingMode(StrEnum):
    """Where orders go: the bundled simulated exchange, Alpaca's paper account, or Alpaca with real money."""

    SIMULATED = "simulated"
    PAPER = "paper"
    LIVE = "live"


_ALPACA_URLS = {
    TradingMode.SIMULATED: (
        "http://127.0.0.1:5801",
        "http://127.0.0.1:5801",
        "ws://127.0.0.1:5801/stream",
        "ws://127.0.0.1:5801/v2/iex",
    ),
    TradingMode.PAPER: (
        "https://paper-api.alpaca.markets",
        "https://data.alpaca.markets",
        "wss://paper-api.alpaca.markets/stream",
        "wss://stream.data.alpaca.markets/v2/iex",
    ),
    TradingMode.LIVE: (
        "https://api.alpaca.markets",
        "https://data.alpaca.markets",
        "wss://api.alpaca.markets/stream",
        "wss://stream.data.alpaca.markets/v2/iex",
    ),
}


_ADDRESSES = ("alpaca_trading_url", "alpaca_data_url", "alpaca_trading_stream_url", "alpaca_data_stream_url")


class Settings(BaseSettings):
    """Everything a person may set. Immutable once read."""

    # A file per setting in SECRETS_DIR, named like it in small letters; the environment goes before it.
    model_config = SettingsConfigDict(
        env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, secrets_dir=os.environ.get("SECRETS_DIR") or None
    )

    trading_mode: TradingMode = TradingMode.SIMULATED
    trading_cycle_seconds: int = Field(600, ge=1, le=86_400, description="Length of a trading cycle in venue time.")
    watchlist: Annotated[tuple[str, ...], NoDecode] = tuple(DEFAULT_WATCHLIST.split())
    forecasts_file: Path | None = Field(None, description="Scripted forecasts for drills; refused in live mode.")
    exit_monitor_seconds: float = Field(
        5.0, ge=1, le=60, description="Between two looks of the exit monitor, wall time; a hit is acted on within two."
    )
    strategy: str = Field(MODEL_DRIVEN, min_length=1, description="What trades: see `trader strategy list`.")
    strategy_parameters: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=dict, description='Parameters other than the defaults, as JSON: {"fast": 5}.'
    )
    strategy_timeframe: Literal["1Min", "5Min", "15Min", "1Hour", "1Day"] = Field("1Day", description="Bars a strategy sees.")
    strategies_dir: Path = Path("strategies")
    nightly_learning: bool = Field(True, description="Tune and train at 23:00 UTC on weekdays, search the ensemble at 01:00.")

    alpaca_api_key: SecretStr = SecretStr("simulated")
    alpaca_api_secret: SecretStr = SecretStr("simulated")
    alpaca_account_id: str = Field("", description="The account's id as the venue tells it; any other is refused.")
    alpaca_paper: bool = True
    alpaca_trading_url: str = ""
    alpaca_data_url: str = ""
    alpaca_trading_stream_url: str = ""
    alpaca_data_stream_url: str = ""
    alpaca_timeout_seconds: float = Field(10.0, gt=0, le=30)
    alpaca_requests_per_minute: int = Field(180, ge=1, le=10_000)
    alpaca_data_feed: str = "iex"

    ai_signal_buy_threshold: float = Field(0.005, ge=0, le=1)
    ai_signal_sell_threshold: float = Field(-0.005, ge=-1, le=0)
    ai_confidence_threshold: float = Field(0.7, ge=0, le=1)
    rebalance_margin: float = Field(0.005, ge=0, le=1)
    round_trip_cost: float = Field(0.002, ge=0, le=1)

    risk_max_portfolio_exposure: float = Field(0.80, gt=0, le=1)
    risk_max_positions: int = Field(7, ge=1, le=1000)
    risk_max_position_size: float = Field(0.10, gt=0, le=1)
    risk_stop_loss_pct: float = Field(-0.05, ge=-0.9, lt=0)
    risk_take_profit_pct: float = Field(0.10, gt=0, le=10)
    risk_max_daily_loss: float = Field(-0.02, ge=-1, lt=0)
    risk_flatten_daily_loss: float = Field(-0.03, ge=-1, lt=0)
    risk_max_drawdown: float = Field(0.20, gt=0, le=1)
    risk_per_trade: float = Field(0.01, gt=0, le=1)
    risk_target_volatility: float = Field(
        0.0025, gt=0, le=1, description="A position's daily volatility as a fraction of equity."
    )
    risk_price_collar: float = Field(0.005, ge=0, le=0.1)

    exit_atr_stop_multiple: float = Field(0.0, ge=0, le=100, description="Stop at so many ATR below the entry; 0: off.")
    exit_break_even_at_r: float = Field(0.0, ge=0, le=100, description="Stop to the entry after a gain of so many R; 0: off.")
    exit_partial_at_r: float = Field(0.0, ge=0, le=100, description="Sell a part after a gain of so many R; 0: off.")
    exit_partial_fraction: float = Field(0.0, ge=0, lt=1, description="The part of the holding sold then.")
    exit_trailing_fraction: float = Field(0.0, ge=0, lt=1, description="Stop so far below the best price; 0: off.")
    exit_trailing_atr_multiple: float = Field(0.0, ge=0, le=100, description="Stop so many ATR below the best price; 0: off.")

    opt_thresholds: Annotated[tuple[float, ...], NoDecode] = tuple(DEFAULT_OPT_THRESHOLDS)
    opt_window: int = Field(200, ge=1, le=100_000, description="Bars before the span that warm up the rules of the ensemble.")
    opt_threads: int = Field(4, ge=1, le=64, description="Threads of a sweep in each process.")
    opt_initial_cash: float = Field(1_000_000.0, gt=0, le=1e12, allow_inf_nan=False)
    opt_months: int = Field(3, ge=1, le=120, description="Length of the nightly search's span.")
    opt_journal: str = Field("", description="Where searches keep their journal: a directory or a Redis URL; empty: STATE_DIR.")

    secret_key: SecretStr = SecretStr(DEFAULT_SECRET_KEY)
    admin_username: str = "admin"
    admin_password: SecretStr = SecretStr(DEFAULT_ADMIN_PASSWORD)
    secret_key_previous: SecretStr | None = Field(None, description="The SECRET_KEY before, still believed while it is set.")
    access_token_hours: float = Field(24.0, gt=0, le=168, description="Elsewhere than on this machine 15 minutes at most.")
    live_confirmation: str = Field("", description="real money on ACCOUNT_ID, typed by hand; live mode only.")
    api_host: str = "127.0.0.1"
    api_port: int = Field(5000, ge=1, le=65_535)
    gunicorn_bind: str = Field("", description="Listens there instead of API_HOST and API_PORT.")
    trusted_proxies: str = Field("", description="Addresses or networks whose X-Forwarded-For is believed.")

    database_url: str = "sqlite:///database/alpha_trader.db"
    redis_url: str = "redis://127.0.0.1:6379/0"
    celery_broker_url: str = ""
    discord_webhook_url: SecretStr | None = None

    models_dir: Path = Path("models")
    params_dir: Path = Path("best_params")
    state_dir: Path = Path("database")
    logs_dir: Path = Path("logs")
    backup_dir: Path = Path("backups")
    backup_recipient: str = Field("", description="age public key that backups are encrypted for; empty: they are not.")
    backup_keep: int = Field(14, ge=0, le=10_000, description="How many of the newest backups stay; 0: all.")
    log_level: str = "INFO"
    crash_at: str = Field("", description="Failpoint at which a drill kills the process; simulated mode only.")
    hold_at: str = Field("", description="Failpoint at which a drill stops the process until told; simulated mode only.")
    metrics_port: int = Field(0, ge=0, le=65_535, description="Port of the worker's metrics; 0 switches it off.")

    @field_validator("watchlist", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.replace(",", " ").split()
        if isinstance(value, (list, tuple)):
            symbols = tuple(dict.fromkeys(str(s).strip().upper() for s in value))
            bad = [s for s in symbols if not is_symbol(s)]
            if bad or not symbols:
                raise ValueError(f"not a list of symbols: {' '.join(bad) or 'it is empty'}")
            return symbols
        return value

    @field_validator("strategy_parameters", mode="before")
    @classmethod
    def _read_parameters(cls, value: object) -> object:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except json.JSONDecodeError as fault:
            raise ValueError(f'not JSON ({fault.msg}); write it like {{"fast": 5, "slow": 20}}') from None
        numbers = isinstance(found, dict) and all(type(number) in {int, float} for number in found.values())
        if not numbers:
            raise ValueError('must be an object of numbers; write it like {"fast": 5, "slow": 20}')
        return found

    @field_validator("opt_thresholds", mode="before")
    @classmethod
    def _split_thresholds(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.replace(",", " ").split()
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError("not a list of thresholds such as 0.05,0.1,0.2")
        found = tuple(dict.fromkeys(float(one) for one in value))
        if not all(0.01 <= one <= 1 for one in found):
            raise ValueError("thresholds must lie between 0.01 and 1")
        return found

    @model_validator(mode="after")
    def _fill_and_check(self) -> Self:
        defaults = _ALPACA_URLS[self.trading_mode]
        for name, default in zip(_ADDRESSES, defaults, strict=True):
            object.__setattr__(self, name, (getattr(self, name) or default).rstrip("/"))
        if not self.celery_broker_url:
            object.__setattr__(self, "celery_broker_url", self.redis_url)
        faults = list(self._faults())
        if faults:
            raise ValueError("\n  ".join(faults))
        return self

    def _faults(self) -> list[str]:
        faults = []
        if self.trading_mode is TradingMode.LIVE and self.alpaca_paper:
            faults.append("TRADING_MODE=live needs ALPACA_PAPER=False; they disagree, so nothing starts")
        if self.trading_mode is not TradingMode.LIVE and not self.alpaca_paper:
            faults.append(f"ALPACA_PAPER=False needs TRADING_MODE=live, not {self.trading_mode}")
        faults += self._wrong_addresses()
        if self.trading_mode is TradingMode.LIVE and self.forecasts_file:
            faults.append("FORECASTS_FILE is for drills and is refused in live mode; unset it")
        faults += self._failpoint_faults()
        faults += self._strategy_faults()
        if self.trading_mode is TradingMode.LIVE and self.database_url.startswith("sqlite") and not is_safe():
            faults.append(
                f"DATABASE_URL: SQLite {sqlite3.sqlite_version} can corrupt a database that several processes write to; with "
                "TRADING_MODE=live use PostgreSQL, or SQLite 3.51.3 or newer"
            )
        if (self.exit_partial_at_r > 0) != (self.exit_partial_fraction > 0):
            faults.append("EXIT_PARTIAL_AT_R and EXIT_PARTIAL_FRACTION belong together; set both or neither")
        if self.risk_flatten_daily_loss > self.risk_max_daily_loss:
            faults.append("RISK_FLATTEN_DAILY_LOSS must not be milder than RISK_MAX_DAILY_LOSS")
        if self.trading_mode is TradingMode.LIVE:
            faults += self._confirmation_faults()
        faults += refusals.proxy_faults("TRUSTED_PROXIES", self.trusted_proxies)
        if not self.is_local:
            faults += self._exposure_faults()
        return faults

    def _confirmation_faults(self) -> list[str]:
        """Real money takes a sentence typed by hand that names the account."""
        if not self.alpaca_account_id:
            return ["TRADING_MODE=live needs ALPACA_ACCOUNT_ID, the account it may trade on, as the venue shows it"]
        if self.live_confirmation != f"real money on {self.alpaca_account_id}":
            return ["TRADING_MODE=live needs LIVE_CONFIRMATION; type: real money on, and the id in ALPACA_ACCOUNT_ID"]
        return []

    def _exposure_faults(self) -> list[str]:
        """What is no good where others can reach a process of ours, or money or a paper account is at stake."""
        secret, password = self.secret_key.get_secret_value(), self.admin_password.get_secret_value()
        faults = [
            *refusals.key_faults("SECRET_KEY", secret, DEFAULT_SECRET_KEY),
            *refusals.password_faults("ADMIN_PASSWORD", password, self.admin_username, DEFAULT_ADMIN_PASSWORD),
            *refusals.database_faults("DATABASE_URL", self.database_url),
        ]
        if self.secret_key_previous is not None:
            faults += refusals.key_faults(
                "SECRET_KEY_PREVIOUS", self.secret_key_previous.get_secret_value(), DEFAULT_SECRET_KEY
            )
        if password == secret:
            faults.append("ADMIN_PASSWORD and SECRET_KEY are the same; take two")
        for name in ("redis_url", "celery_broker_url", "opt_journal"):
            # The default is replaced by the broker that comes along, which has a password.
            if name in self.model_fields_set:
                faults += refusals.queue_faults(name.upper(), getattr(self, name))
        if self.trading_mode is not TradingMode.SIMULATED:
            for name in _ADDRESSES:
                faults += refusals.clear_text_faults(name.upper(), getattr(self, name))
            given = (self.alpaca_api_key, self.alpaca_api_secret)
            if any(one.get_secret_value() in {"simulated", ""} for one in given):
                faults.append("ALPACA_API_KEY and ALPACA_API_SECRET are not set")
        return faults

    @property
    def is_local(self) -> bool:
        """Simulated, and reached from this machine alone: the defaults will do."""
        beyond = not refusals.is_loopback(self.api_host) or refusals.binds_beyond(self.gunicorn_bind)
        # Whoever puts a proxy in front does so to be reached from elsewhere.
        return self.trading_mode is TradingMode.SIMULATED and not beyond and not self.trusted_proxies

    @property
    def access_token_seconds(self) -> int:
        """Life of an access token: as set where only this machine gets in, elsewhere 15 minutes at most."""
        asked = max(1, round(self.access_token_hours * 3600))
        return asked if self.is_local else min(asked, LONGEST_ACCESS_SECONDS)

    def _failpoint_faults(self) -> list[str]:
        faults = []
        for name, value in (("CRASH_AT", self.crash_at), ("HOLD_AT", self.hold_at)):
            if value and self.trading_mode is not TradingMode.SIMULATED:
                faults.append(f"{name} is for drills and is refused in {self.trading_mode} mode; unset it")
            try:
                parse(value)
            except ValueError as fault:
                faults.append(f"{name} {fault}")
        return faults

    def _strategy_faults(self) -> list[str]:
        if self.strategy == MODEL_DRIVEN:
            said = [name for name in ("strategy_parameters", "strategy_timeframe") if name in self.model_fields_set]
            return [f"{name.upper()} is for another strategy than {MODEL_DRIVEN}; unset it" for name in said]
        seconds = _SECONDS_OF_BAR[self.strategy_timeframe]
        if self.trading_cycle_seconds > seconds:
            return [
                f"TRADING_CYCLE_SECONDS={self.trading_cycle_seconds} is longer than a bar of STRATEGY_TIMEFRAME="
                f"{self.strategy_timeframe}: signals between two cycles would never be seen; set it to {seconds} or less"
            ]
        return []

    def _wrong_addresses(self) -> list[str]:
        """An address of Alpaca's that belongs to another mode: keys and money would not be what the mode says."""
        own = {urlsplit(url).hostname for url in _ALPACA_URLS[self.trading_mode]}
        faults = []
        for name in _ADDRESSES:
            host = urlsplit(getattr(self, name)).hostname or ""
            if host.endswith("alpaca.markets") and host not in own:
                faults.append(f"{name.upper()} is not an address of TRADING_MODE={self.trading_mode}; unset it")
        return faults

    def behaviour(self) -> dict[str, Any]:
        """What decides how it trades, as plain JSON: no secrets, addresses, places or names of people."""
        plain = self.model_dump(mode="json")
        kept = type(self).model_fields.items()
        return {name: plain[name] for name, field in kept if not name.endswith(_NOT_BEHAVIOUR) and not _is_secret(field)}

    @property
    def limits(self) -> RiskLimits:
        """The risk limits as the decision takes them (magnitudes)."""
        return RiskLimits(
            max_exposure_fraction=self.risk_max_portfolio_exposure,
            max_positions=self.risk_max_positions,
            max_position_fraction=self.risk_max_position_size,
            stop_loss_fraction=-self.risk_stop_loss_pct,
            take_profit_fraction=self.risk_take_profit_pct,
            max_daily_loss_fraction=-self.risk_max_daily_loss,
            flatten_daily_loss_fraction=-self.risk_flatten_daily_loss,
            max_drawdown_fraction=self.risk_max_drawdown,
            risk_per_trade_fraction=self.risk_per_trade,
            target_volatility_fraction=self.risk_target_volatility,
            price_collar_fraction=self.risk_price_collar,
            # A price may be as old as one cycle and a half before an entry on it is refused.
            max_price_age_seconds=max(60.0, 1.5 * self.trading_cycle_seconds),
        )

    @property
    def policy(self) -> Policy:
        """The signal thresholds and rebalancing costs as the decision takes them."""
        return Policy(
            buy_threshold=self.ai_signal_buy_threshold,
            sell_threshold=self.ai_signal_sell_threshold,
            confidence_threshold=self.ai_confidence_threshold,
            round_trip_cost_fraction=self.round_trip_cost,
            rebalance_margin_fraction=self.rebalance_margin,
            exits=self.exits,
        )

    @property
    def exits(self) -> ExitPolicy:
        """How holdings are left, as the decision takes it."""
        return ExitPolicy(
            stop_loss_fraction=-self.risk_stop_loss_pct,
            take_profit_fraction=self.risk_take_profit_pct,
            atr_stop_multiple=self.exit_atr_stop_multiple,
            break_even_at_r=self.exit_break_even_at_r,
            partial_at_r=self.exit_partial_at_r,
            partial_fraction=self.exit_partial_fraction,
            trailing_fraction=self.exit_trailing_fraction,
            trailing_atr_multiple=self.exit_trailing_atr_multiple,
        )


_SECONDS_OF_BAR = {"1Min": 60, "5Min": 300, "15Min": 900, "1Hour": 3_600, "1Day": 86_400}
_NOT_BEHAVIOUR = (
    "_url",
    "_host",
    "_port",
    "_dir",
    "_file",
    "_username",
    "log_level",
    "opt_journal",
    "_bind",
    "_proxies",
    "_confirmation",
)


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation in {SecretStr, SecretStr | None}


def is_symbol(text: str) -> bool:
    """Whether `text` can be a ticker: 1 to 12 characters of A-Z, 0-9, dot, slash, hyphen, starting with a letter or digit."""
    return (
        0 < len(text) <= 12
        and text[0].isalnum()
        and all((c.isalnum() and c.isascii() and not c.islower()) or c in "./-" for c in text)
    )


class _OfThisProcess(Settings):
    """The settings, and what they are read from: the environment and the files around."""

    def _faults(self) -> list[str]:
        faults = super()._faults()
        if not self.is_local:
            files = [Path(".env"), *refusals.secret_files(os.environ.get("SECRETS_DIR"))]
            faults += refusals.debug_faults(os.environ)
            faults += refusals.file_faults([*files, *refusals.database_files(self.database_url)])
        return faults


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once. Raises ConfigurationError naming every fault."""
    try:
        return _OfThisProcess()
    except ValidationError as fault:
        lines, wrong = _told(fault), {str(error["loc"][0]) for error in fault.errors(include_url=False) if error["loc"]}
    except SettingsError as fault:
        raise ConfigurationError(
            f"{fault}: {fault.__cause__}; files of SECRETS_DIR must belong to the user of this process (Docker: TRADER_UID)"
        ) from None
    if wrong and "trading_mode" not in wrong:  # the rest is looked at as if these were right: all is told at once
        defaults = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in wrong}
        try:
            _OfThisProcess(**defaults)
        except ValidationError as fault:
            lines += [line for line in _told(fault) if not any(name.upper() in line for name in wrong)]
    raise ConfigurationError("these settings are wrong:\n" + "\n".join(lines))


def _told(fault: ValidationError) -> list[str]:
    """Each fault as a line: the setting and its mend, never the value."""
    lines = []
    for error in fault.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in error["loc"]).upper()
        said = error["msg"].removeprefix("Value error, ").split("\n  ")
        lines += [f"  {name}: {one}" if name else f"  {one}" for one in said]
    return lines
