"""What a server asks in the middle of a call: a form in the page, made from the answer's schema."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aof_nb.markdown import html_text
from aof_nb.mcp.elicitation import Question
from aof_nb.notebook.console import markup
from aof_nb.notebook.console.forms import SchemaForm
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.widgets import button, close_tree


class ServerQuestion:
    """One question of a server.

    Args:
        host: The console.
        question: What is asked.
    """

    def __init__(self, host: Host, question: Question) -> None:
        import ipywidgets

        self._host, self._question = host, question
        self._answer: asyncio.Future[Mapping[str, Any] | None] = (
            asyncio.get_running_loop().create_future()
        )
        head: Any = ipywidgets.HTML(_told(question))
        head.add_class("aof-wrap")
        self.form = SchemaForm(question.schema)
        self._wrong: Any = ipywidgets.HTML()
        label = "Answer" if question.url is None else "I have been there"
        self.give = button(label, "check", lambda: host.start(self._give))
        self.decline = button("Decline", "ban", lambda: host.start(self._decline))
        buttons = ipywidgets.HBox([self.give, self.decline])
        self.widget: Any = ipywidgets.VBox([head, self.form.widget, self._wrong, buttons])
        self.widget.add_class("aof-inbox")

    async def answered(self) -> Mapping[str, Any] | None:
        """Waits for a person's answer; None if they decline. Its widgets are closed then."""
        try:
            return await self._answer
        finally:
            close_tree(self.widget)

    async def _give(self) -> None:
        if self.form.problems:
            self._wrong.value = markup.problem("Correct the fields that are marked.")
        elif not self._answer.done():
            self._answer.set_result(self.form.value)

    async def _decline(self) -> None:
        if not self._answer.done():
            self._answer.set_result(None)


def _told(question: Question) -> str:
    where = (
        ""
        if question.url is None
        else f"<div>It asks you to visit this page; look where it leads before you do:</div>"
        f"<pre>{html_text(question.url)}</pre>"
    )
    return (
        f"<b>{html_text(question.server)} asks</b> "
        f"{markup.told('what you write here is sent to that server')}"
        f"<pre>{html_text(question.message)}</pre>{where}"
    )
