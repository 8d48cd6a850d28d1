"""A loop goes on while something heavy is imported."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aof_nb.importing import imported


async def test_the_loop_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_module.py").write_text("import time\ntime.sleep(0.3)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    try:
        first, second = await asyncio.gather(imported("heavy_module"), imported("heavy_module"))
    finally:
        ticking.cancel()
        sys.modules.pop("heavy_module", None)
    assert first is second
    assert first.ready
    assert ticks >= 3


async def test_what_is_not_there() -> None:
    with pytest.raises(ImportError, match="no_such_module"):
        await imported("no_such_module")
