"""The definitions of a server's tools that hold, those that it has changed, and a yes to them."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

from aof_nb.errors import ConfigurationError
from aof_nb.markdown import html_text
from aof_nb.mcp.findings import findings
from aof_nb.mcp.pins import Pin, ServerPins, accept, offered_by
from aof_nb.mcp.pins_text import said_accepted
from aof_nb.mcp.pins_text import standing as standing_of
from aof_nb.notebook.console import markup, mcp_text
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.readable import counted, local_time

_COLUMNS = (
    Column("tool", "Tool"),
    Column("state", "Definition"),
    Column("look", "Look", wide=True),
)


class DefinitionsPane:
    """What is known of one server's tools.

    Args:
        host: The console.
    """

    def __init__(self, host: Host) -> None:
        import ipywidgets

        self._host = host
        self._pins: ServerPins | None = None
        self._table = Table(
            "Definitions", _COLUMNS, empty="Nothing is known of its tools before it is connected."
        )
        self._table.on_select(lambda _: host.start(self._turn))
        self._accept: Any = ipywidgets.Button(icon="check", layout={"width": "auto"})
        self._accept.on_click(lambda _: self._begin())
        self._detail: Any = ipywidgets.HTML()
        self._detail.add_class("aof-wrap")
        self.widget: Any = ipywidgets.VBox(
            [self._table.widget, ipywidgets.HBox([self._accept]), self._detail]
        )
        self._show()

    def show(self, pins: ServerPins | None) -> None:
        """Shows what is known of a server's tools."""
        self._pins = pins
        tools = {} if pins is None else pins.tools
        rows = [_row(name, pin) for name, pin in tools.items()]
        self._table.show(sorted(rows, key=lambda row: -row.sort["look"]))
        if self._table.selected not in tools:
            self._table.selected = ""
        self._show()

    async def _turn(self) -> None:
        self._show()

    def _open(self) -> dict[str, Pin]:
        """What is shown and waits for a yes: of the selected tool, or all."""
        chosen, tools = self._table.selected, self._pins.tools if self._pins is not None else {}
        return {
            name: pin
            for name, pin in tools.items()
            if chosen in ("", name) and (pin.changed is not None or not pin.accepted)
        }

    def _show(self) -> None:
        pins, chosen, waiting = self._pins, self._table.selected, self._open()
        pin = pins.tools.get(chosen) if pins is not None else None
        said = ""
        if pin is not None:
            said = (
                f"<h3>{html_text(chosen)}</h3>{markup.told(_since(pin))}{mcp_text.pin(chosen, pin)}"
            )
        elif pins is not None:
            said = mcp_text.pins(pins)
        if said != self._detail.value:
            self._detail.value = said
        changed = sum(each.changed is not None for each in waiting.values())
        label = "Accept this definition" if chosen else "Accept all definitions"
        if changed:
            label = "Accept this change" if chosen else f"Accept {counted(changed, 'change')}"
        self._accept.description = label
        self._accept.disabled = not waiting
        self._accept.layout.display = None if pins is not None else "none"

    def _begin(self) -> None:
        pins, chosen, shown = self._pins, self._table.selected, self._open()

        async def begin() -> None:
            if pins is None:
                return
            # What is accepted is what was looked at, whatever the server has offered since.
            changed = {name: pin for name, pin in shown.items() if pin.changed is not None}
            seen = [offered_by(pin) for pin in (changed or shown).values()]
            accepted = await asyncio.to_thread(
                functools.partial(accept, pins.server, chosen or None, seen=seen)
            )
            missed = set(changed or shown) - {each.tool for each in accepted}
            self._host.refresh()
            if missed:
                raise ConfigurationError(
                    f"{', '.join(sorted(missed))}: the server offers another definition than was "
                    "shown",
                    remedy="look at it again",
                )
            self._host.tell(said_accepted(accepted))

        self._host.start(begin)


def _row(name: str, pin: Pin) -> TableRow:
    found = findings(offered_by(pin))
    changed = pin.changed is not None
    waits = bool(found) and not pin.accepted
    return TableRow(
        id=name,
        cells={
            "tool": name,
            "state": f"⚠ {standing_of(pin)}" if changed else standing_of(pin),
            "look": mcp_text.notable(found),
        },
        sort={"look": 2 * changed + waits},
        level="warning" if changed or waits else "",
    )


def _since(pin: Pin) -> str:
    """Since when a definition holds, and since when another is offered."""
    since = local_time(pin.since, seconds=False)
    if pin.changed_at is None:
        return f"{standing_of(pin)} since {since}"
    how = "accepted" if pin.accepted else "first seen"
    return f"{how} {since}, changed {local_time(pin.changed_at, seconds=False)}"
