import pytest

from app.services.accounts.accounts import Accounts
from app.services.database_service import DatabaseService
from tests.databases import HandClock
from tests.web.conftest import anyone, app, client, one_app, services, token  # noqa: F401 - fixtures

from .people import accounts_of


@pytest.fixture
def accounts(ledger: DatabaseService, hand_clock: HandClock) -> Accounts:
    """Accounts of a fresh installation in the simulated mode."""
    made = accounts_of(ledger, hand_clock)
    made.seed("admin", "password")
    return made
