"""A machine of its own for each test: the console shows all that there is on one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aof_nb.models import breaker_board


@pytest.fixture(autouse=True)
def own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AOF_STATE_DIR", str(directory))
        patch.setattr(breaker_board, "_open", {})
        yield directory
