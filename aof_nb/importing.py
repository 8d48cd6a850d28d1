"""Importing what takes seconds without holding up the event loop."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from types import ModuleType


async def imported(name: str) -> ModuleType:
    """A module, imported in a thread where it has not been yet.

    While a loop imports a provider's SDK itself, nothing is shown and no interrupt arrives.

    Args:
        name: Its full name.

    Raises:
        ImportError: If it cannot be imported.
    """
    module = sys.modules.get(name)
    if module is None or getattr(module.__spec__, "_initializing", False):
        module = await asyncio.to_thread(_import, name)
    return module


def _import(name: str) -> ModuleType:
    # Importing makes many objects and hardly any garbage: looking for it costs a sixth of the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collecting:
            gc.enable()
