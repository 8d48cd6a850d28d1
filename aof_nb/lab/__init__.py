"""The incident lab: small real services that really break, and an MCP server over them.

A shop of five processes on loopback lives here, with its supervisor, its faults and the
repairs. It uses only what aof_nb offers to everybody, and nothing in aof_nb uses it.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aof_nb.lab.api import FAULTS as FAULTS
    from aof_nb.lab.api import Lab as Lab
    from aof_nb.lab.api import LabError as LabError
    from aof_nb.lab.api import Probe as Probe

__all__ = ["FAULTS", "TRIAGE", "Lab", "LabError", "Probe"]

TRIAGE = str(Path(__file__).with_name("triage.yaml"))
"""The playbook that finds and mends the lab's faults: for ``script:`` models."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("aof_nb.lab.api"), name)
