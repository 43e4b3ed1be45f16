"""A bench for the simulations, in memory where the system offers a directory there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.orders.simulation import Bench


@pytest.fixture(scope="session")
def bench() -> Iterator[Bench]:
    shared = Path("/dev/shm")  # databases that nobody will miss after a power cut
    directory = Path(tempfile.mkdtemp(prefix="alpha-trader-", dir=shared if os.access(shared, os.W_OK) else None))
    bench = Bench(directory)
    yield bench
    bench.storage.close()
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults by the thousand are logged by the thousand."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)
