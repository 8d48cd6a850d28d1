"""The widgets that pages are made of, beside those that ipywidgets has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.resources import files
from typing import Any


@functools.cache
def pulse_class() -> type[Any]:
    """A widget that brings the style, and says ``{do: "here"}`` while a page looks at it."""
    import anywidget

    static = files("aof_nb.notebook") / "static"

    class ConsolePulse(anywidget.AnyWidget):
        _esm = (static / "console_pulse.js").read_text(encoding="utf-8")
        _css = (static / "console.css").read_text(encoding="utf-8")

    return ConsolePulse


@functools.cache
def table_class() -> type[Any]:
    """A table whose rows can be sorted, filtered and selected in the page."""
    import anywidget
    import traitlets

    static = files("aof_nb.notebook") / "static"

    class TableWidget(anywidget.AnyWidget):
        _esm = (static / "console_table.js").read_text(encoding="utf-8")
        label = traitlets.Unicode().tag(sync=True)
        columns: Any = traitlets.List().tag(sync=True)
        rows: Any = traitlets.List().tag(sync=True)
        selected = traitlets.Unicode().tag(sync=True)
        empty = traitlets.Unicode().tag(sync=True)
        filterable = traitlets.Bool(default_value=True).tag(sync=True)

    return TableWidget


def button(
    label: str, icon: str, clicked: Callable[[], object], *, tip: str = "", disabled: bool = False
) -> Any:
    """A button as wide as its label.

    Args:
        label: What is on it.
        icon: Font Awesome's name of its icon.
        clicked: What is called with each click, on any thread.
        tip: What a click does, if that is not clear from the label.
        disabled: Whether it cannot be clicked yet.
    """
    import ipywidgets

    made = ipywidgets.Button(
        description=label, icon=icon, disabled=disabled, layout={"width": "auto"}
    )
    if tip:
        made.tooltip = tip
    made.on_click(lambda _: clicked())
    return made


def fold(title: str, content: Any, *, unfolded: bool = False) -> Any:
    """A part of a page that can be folded away, with the keyboard too.

    The titles of ipywidgets' accordion cannot be reached by Tab.

    Args:
        title: What is on the button.
        content: The widget that it shows and hides.
        unfolded: Whether it is shown at first.
    """
    import ipywidgets

    turned: Any = ipywidgets.ToggleButton(
        description=title, value=unfolded, layout={"width": "auto", "align_self": "flex-start"}
    )
    turned.add_class("aof-fold")

    inside: Any = ipywidgets.VBox([content])

    def turn(_: Any) -> None:
        turned.icon = "caret-down" if turned.value else "caret-right"
        inside.layout.display = None if turned.value else "none"

    turn(None)
    turned.observe(turn, "value")
    return ipywidgets.VBox([turned, inside])


def close_tree(widget: Any) -> None:
    """Closes a widget and all within it."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    widget.close()
