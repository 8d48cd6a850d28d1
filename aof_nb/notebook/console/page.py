"""What a page of the console is, and what the console does for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


class Host(Protocol):
    """What the console does for its pages.

    Args:
        directory: Where the files are that it shows.
        variables: The notebook's variables.
    """

    directory: Path
    variables: Mapping[str, Any]

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Has work done on the console's loop; it may be called on any thread.

        The work belongs to the console, and is cancelled when that is closed. What it raises is
        shown on the page.
        """

    def tell(self, text: str) -> None:
        """Shows a line above the page for a while, or until another page is shown."""

    def show(self, title: str) -> None:
        """Turns to another page; it may be called on any thread.

        Args:
            title: Its title.
        """

    def refresh(self) -> None:
        """Has the page refreshed now."""


class Page(Protocol):
    """A page of the console.

    Args:
        interval: Seconds between two refreshes while it is looked at.
    """

    interval: float

    def build(self) -> Any:
        """Makes the page's widget."""

    async def refresh(self) -> None:
        """Brings what it shows up to date."""

    def close(self) -> None:
        """Lets go of what is no widget of its own."""
