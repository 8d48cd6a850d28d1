"""The place in the notebook where a run's outputs go, and what it can do.

An `Output` is shown once and, where the frontend can, replaced while it is live.
"""

from __future__ import annotations

import enum
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

Bundle: TypeAlias = dict[str, str]
Metadata: TypeAlias = Mapping[str, Any]


class Frontend(enum.StrEnum):
    """What looks at the cell's output.

    `LIVE` replaces outputs and shows widgets (JupyterLab, Notebook, VS Code); `CONSOLE` is a
    kernel's plain console and `TERMINAL` IPython's own: both print and can ask on standard
    input; `HEADLESS` is papermill, nbclient or nbconvert: nobody is there.
    """

    LIVE = "live"
    CONSOLE = "console"
    TERMINAL = "terminal"
    HEADLESS = "headless"


def frontend(shell: InteractiveShell) -> Frontend:
    """Finds out what looks at the cell that is being executed.

    A frontend that sends no answers to `input()` is headless; one that names its cell is a
    notebook. ``AOF_FRONTEND`` overrides what is found, ``AOF_HEADLESS=1`` is short for headless.
    """
    named = os.environ.get("AOF_FRONTEND", "")
    if named in [each.value for each in Frontend]:
        return Frontend(named)
    if os.environ.get("AOF_HEADLESS", "") not in {"", "0"}:
        return Frontend.HEADLESS
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Frontend.TERMINAL
    parent = kernel.get_parent("shell") or {}
    if not parent.get("content", {}).get("allow_stdin", False):
        return Frontend.HEADLESS
    return Frontend.LIVE if cell_id(shell) else Frontend.CONSOLE


def cell_id(shell: InteractiveShell) -> str:
    """The id of the cell that is being executed; empty where the frontend does not say it."""
    kernel = getattr(shell, "kernel", None)
    parent = (kernel.get_parent("shell") if kernel is not None else None) or {}
    return str(parent.get("metadata", {}).get("cellId") or "")


def clicks_arrive() -> bool:
    """Whether a click reaches its handler while a cell runs: needs ipykernel 7.1 or later."""
    return _ipykernel_version() >= (7, 1)


def what_is_missing(shell: InteractiveShell) -> str:
    """What this kernel cannot do, and what holds instead; empty if nothing is missing.

    Args:
        shell: IPython's shell.
    """
    if getattr(shell, "kernel", None) is None or clicks_arrive():
        return ""
    version = ".".join(map(str, _ipykernel_version()))
    return (
        f"aof_nb: ipykernel {version} takes no clicks while a cell runs. Runs work; where one "
        "asks, type the answer in the cell's input line, and end one by interrupting the kernel. "
        'For the buttons: pip install "ipykernel>=7.1", then start the kernel again.'
    )


def _ipykernel_version() -> tuple[int, ...]:
    from ipykernel._version import version_info

    major, minor, *_ = version_info
    return int(str(major)), int(str(minor))


class Screen(Protocol):
    """Where outputs are published."""

    def publish(
        self, data: Bundle, metadata: Metadata, *, display_id: str | None, update: bool
    ) -> None:
        """Shows an output, or replaces the one shown under the same id."""
        ...


class CellScreen:
    """The output area of the cell that is being executed.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._publisher = shell.display_pub

    def publish(
        self, data: Bundle, metadata: Metadata, *, display_id: str | None, update: bool
    ) -> None:
        """Sends ``display_data`` or ``update_display_data``."""
        transient = {} if display_id is None else {"display_id": display_id}
        self._publisher.publish(
            data=data, metadata=dict(metadata), transient=transient, update=update
        )


class Output:
    """One output of a cell.

    Args:
        screen: Where it is shown.
        live: Whether it can be replaced. If not, only its last state is shown.
    """

    def __init__(self, screen: Screen, *, live: bool) -> None:
        self._screen = screen
        self._live = live
        self._id: str | None = None

    @property
    def shown(self) -> bool:
        """Whether something has been shown."""
        return self._id is not None

    def show(self, data: Bundle, metadata: Metadata | None = None) -> None:
        """Shows a state that will be replaced."""
        if not self._live:
            return
        update = self._id is not None
        self._id = self._id or secrets.token_hex(5)
        self._screen.publish(data, metadata or {}, display_id=self._id, update=update)

    def settle(self, data: Bundle, metadata: Metadata | None = None) -> None:
        """Shows the last state; `show` can still replace it."""
        update = self._id is not None
        if self._live:
            self._id = self._id or secrets.token_hex(5)
        self._screen.publish(data, metadata or {}, display_id=self._id, update=update)
