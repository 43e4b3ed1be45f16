"""What gunicorn serves: `app.wsgi:app`.

The application is built when the name is first asked for, which gunicorn does inside each worker: settings, database
engine and clients come into being after the fork, and importing this module starts nothing.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from app.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from app.web.factory import Application

ROLE = "api"
_NEVER_STARTS = 3  # gunicorn ends instead of trying again


@lru_cache(maxsize=1)
def build() -> Application:
    """Settings, logging, services and the application, once per process. Raises ConfigurationError naming every fault."""
    from app.config import settings
    from app.runtime import log
    from app.web.factory import create_app
    from app.wiring import build as build_services  # type: ignore[import-not-found, unused-ignore]

    chosen = settings()
    log.configure(chosen, ROLE)
    services = build_services(chosen)
    services.accounts.seed(chosen.admin_username, chosen.admin_password.get_secret_value())
    services.accounts.demand_strength()
    services.kill.watch()
    return create_app(services)


def __getattr__(name: str) -> Application:
    if name == "app":
        try:
            return build()
        except ConfigurationError as fault:
            print(fault.message, file=sys.stderr)  # noqa: T201 - whoever starts it looks there
            sys.exit(_NEVER_STARTS)
    raise AttributeError(name)
