"""The product's Celery application on a research service of toy jobs, in the database of RESEARCH_DATABASE."""

from __future__ import annotations

import os
from types import SimpleNamespace

from app.celery_config import make_celery
from app.config import settings
from app.tasks import process
from tests.research import toy

app = make_celery(settings())


def _build():
    service, database = toy.service(os.environ["RESEARCH_DATABASE"])
    return SimpleNamespace(research=service, database=database, close=database.close)


process.install(_build)
