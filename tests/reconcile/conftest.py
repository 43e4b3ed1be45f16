"""The exchange and the ledgers of the trading tests."""

from tests.trading.conftest import exchange, ledger_database, served

__all__ = ["exchange", "ledger_database", "served"]
