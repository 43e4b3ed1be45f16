"""Cheats divide by nothing now and then; what numpy says to that is not the subject."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def quiet(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield
    recwarn.clear()
