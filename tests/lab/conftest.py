"""A lab shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aof_nb.lab import Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.down()
