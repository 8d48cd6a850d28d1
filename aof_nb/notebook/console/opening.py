"""Opening the console: in a cell's output, or in JupyterLab's side panel."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.notebook.comm_status import say_idle_after_messages
from aof_nb.notebook.console import PAGES
from aof_nb.notebook.console.frame import Console
from aof_nb.notebook.registry import near

_opened: list[Console] = []


async def open_console(
    *,
    directory: Path,
    variables: Mapping[str, Any] | None = None,
    page: str = "",
    panel: bool = False,
) -> Console:
    """Shows the console in place of the one that this kernel showed before.

    Args:
        directory: Where the files of agents and runbooks are.
        variables: The notebook's variables.
        page: The page that is shown first, by its title in any case; the first one if empty.
        panel: Whether it is shown in JupyterLab's side panel instead of the cell's output.

    Raises:
        ConfigurationError: If there is no such directory or page, or side panels need a package
            that is not installed.

    Example:
        >>> async def inbox():
        ...     return await open_console(directory=Path(), page="approvals")
    """
    import IPython.core.getipython
    import IPython.display

    if not await asyncio.to_thread(directory.is_dir):
        raise ConfigurationError(
            f"{directory} is no directory", remedy="name the one that has your agents and runbooks"
        )
    title = page_title(page) if page else ""
    side = _sidecar() if panel else None
    say_idle_after_messages(getattr(IPython.core.getipython.get_ipython(), "kernel", None))
    while _opened:
        await _opened.pop().aclose()
    console = Console(directory=directory, variables=variables)
    _opened.append(console)
    if title:
        console.show(title)
    show: Any = IPython.display.display
    if side is None:
        show(console)
    else:
        with side(title="aof console", anchor="right"):
            show(console)
    return console


def page_title(page: str) -> str:
    """The title of a page that is named in any case.

    Args:
        page: What it is called.

    Raises:
        ConfigurationError: If there is none of that name.

    Example:
        >>> page_title("runs")
        'Runs'
    """
    titles = {title.lower(): title for title in PAGES}
    found = titles.get(page.lower())
    if found is None:
        raise ConfigurationError(
            f"the console has no page {page!r}{near(page.lower(), titles)}",
            remedy=f"name one of {', '.join(titles)}",
        )
    return found


def _sidecar() -> Any:
    try:
        from sidecar import Sidecar
    except ImportError:
        raise ConfigurationError(
            "the side panel needs the package sidecar",
            remedy='pip install "aof-nb[jupyter]", and load the page again; '
            "or show the console in a cell: %aof console",
        ) from None
    return Sidecar
