"""Importing what takes seconds without holding up the event loop."""

from __future__ import annotations

import asyncio
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
        module = await asyncio.to_thread(importlib.import_module, name)
    return module
