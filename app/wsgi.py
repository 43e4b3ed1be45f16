"""What gunicorn serves: `app.wsgi:app`.

The application is built when the name is first asked for, which gunicorn does inside each worker: settings, database
engine and clients come into being after the fork, and importing this module starts nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.web.factory import Application

ROLE = "api"


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
    services.kill.watch()
    return create_app(services)


def __getattr__(name: str) -> Application:
    if name == "app":
        return build()
    raise AttributeError(name)
