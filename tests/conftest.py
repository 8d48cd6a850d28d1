"""What every test begins with: models that have not failed yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def closed_breakers() -> Iterator[None]:
    """Breakers and limiters are the process's: no test is to feel another's failures."""
    yield
    for name in ("aof_nb.models.resilience", "aof_nb.models.limiter"):
        if (module := sys.modules.get(name)) is not None:
            module.reset()
