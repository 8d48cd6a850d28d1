"""The inbox: the calls of all runs of this machine that wait for a person."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Any

from aof_nb.argument_checks import edited_arguments
from aof_nb.call_description import described
from aof_nb.errors import ConfigurationError
from aof_nb.journal.approvals import Approvals, PendingApproval
from aof_nb.journal.recording import State
from aof_nb.journal.runs import run_dir
from aof_nb.journal.summary import RunSummary, waiting_calls
from aof_nb.markdown import html_text
from aof_nb.notebook.console import markup
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.widgets import button, close_tree, fold
from aof_nb.policy import Answer
from aof_nb.ports import Effect
from aof_nb.readable import indented_json, seconds
from aof_nb.terminal import user_name
from aof_nb.truncation import truncate

_ARGUMENTS_CHARS = 20_000


class ApprovalsPage:
    """What waits for an answer, and buttons that give it.

    Args:
        host: The console.
    """

    interval = 1.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asked: dict[tuple[str, str, str], Question] = {}
        self._standing: list[Question] = []

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._title: Any = ipywidgets.HTML()
        self._box: Any = ipywidgets.VBox()
        return ipywidgets.VBox([self._title, self._box])

    async def refresh(self) -> None:
        """Looks for questions; those that stand there keep what has been typed into them."""
        found = await asyncio.to_thread(lambda: list(waiting_calls()))
        asked: dict[tuple[str, str, str], Question] = {}
        for run, pending in sorted(found, key=lambda each: each[1].time):
            request = pending.request
            key = run.run_id, request.call_id, request.digest
            asked[key] = self._asked.get(key) or Question(self._host, run, pending)
            asked[key].say_since(run)
        gone = [each for key, each in self._asked.items() if key not in asked]
        self._place(gone, [each for key, each in asked.items() if key not in self._asked])
        self._asked = asked
        many = "calls wait" if len(asked) != 1 else "call waits"
        said = f"{len(asked)} {many} for an answer." if asked else "Nothing waits for an answer."
        self._title.value = f'<div role="status">{said}</div>'

    def _place(self, gone: list[Question], new: list[Question]) -> None:
        # A page makes all anew that stands behind what is taken out, and who types there loses
        # the place: so what is gone is only hidden as long as something stands behind it.
        for each in gone:
            each.widget.layout.display = "none"
        standing = [*self._standing, *new]
        closed: list[Question] = []
        while standing and standing[-1].widget.layout.display == "none":
            closed.append(standing.pop())
        if standing != self._standing:
            self._box.children = [each.widget for each in standing]
        self._standing = standing
        for each in closed:
            each.close()

    def close(self) -> None:
        """Lets go of the questions."""
        self._asked, self._standing = {}, []


class Question:
    """A call that waits: what it will do, and the answers that there are.

    Args:
        host: The console.
        run: The run it belongs to.
        pending: What is asked.
    """

    def __init__(self, host: Host, run: RunSummary, pending: PendingApproval) -> None:
        import ipywidgets

        self._host, self._run_id, self._pending = host, run.run_id, pending
        request = pending.request
        self._head: Any = ipywidgets.HTML()
        body: Any = ipywidgets.HTML(_told(pending))
        for each in (self._head, body):
            each.add_class("aof-wrap")
        self._reason: Any = ipywidgets.Text(
            placeholder="Reason, told to the agent with a no", layout={"width": "22em"}
        )
        self._reason.tooltip = f"Reason for denying {request.tool.name}"
        self._buttons = [
            button("Approve", "check", functools.partial(self._give, approved=True)),
            button(
                "Approve similar for this run",
                "check-double",
                functools.partial(self._give, approved=True, similar=True),
            ),
            button("Deny", "ban", functools.partial(self._give, approved=False)),
        ]
        row: Any = ipywidgets.HBox([*self._buttons, self._reason], layout={"flex_flow": "row wrap"})
        edit = self._editor(request.arguments)
        self.widget: Any = ipywidgets.VBox([self._head, body, row, *edit])
        self.widget.add_class("aof-inbox")
        if request.tool.effect is Effect.DESTRUCTIVE:
            self.widget.add_class("aof-grave")

    def _editor(self, arguments: dict[str, Any]) -> list[Any]:
        import ipywidgets

        text = indented_json(arguments)
        self._arguments: Any = ipywidgets.Textarea(
            value=text, rows=min(12, text.count("\n") + 1), layout={"width": "100%"}
        )
        self._arguments.tooltip = "Arguments as JSON"
        if len(text) > _ARGUMENTS_CHARS:
            return []
        give = functools.partial(self._give, approved=True, edited=True)
        self._buttons.append(button("Approve with these arguments", "pencil", give))
        box = ipywidgets.VBox([self._arguments, self._buttons[-1]])
        return [fold("Edit the arguments", box)]

    def say_since(self, run: RunSummary) -> None:
        """Says who asks and for how long it has waited."""
        request = self._pending.request
        waited = seconds(round(max(0.0, time.time() - self._pending.time)))
        resume = (
            ""
            if run.status == State.RUNNING.value
            else f" The run has stopped: go on with it on the page Runs, or with "
            f"<code>aofctl resume {html_text(run.run_id)}</code>."
        )
        who = html_text(f"{run.agent} · run {run.run_id} · waits for {waited}.")
        said = (
            f"<b>{html_text(request.tool.name)}</b> "
            f"{markup.told(f'{request.tool.effect.value} · {request.reason}')}"
            f'<br><span class="aof-told">{who} {request.hurry}{resume}</span>'
        )
        if said != self._head.value:
            self._head.value = said

    def close(self) -> None:
        """Closes its widgets."""
        for each in (*self._buttons, self._reason, self._arguments, self._head):
            each.close()
        close_tree(self.widget)

    def _give(self, *, approved: bool, similar: bool = False, edited: bool = False) -> None:
        reason, typed = str(self._reason.value), str(self._arguments.value)

        async def give() -> None:
            request = self._pending.request
            arguments = self._edited(typed) if edited else None
            answer = Answer(
                approved=approved,
                digest=request.digest,
                similar=similar,
                by=user_name(),
                via="console",
                reason="" if approved else reason,
                arguments=arguments,
            )
            record = Approvals(run_dir(self._run_id))
            await asyncio.to_thread(functools.partial(record.answer, request, answer))
            for each in self._buttons:
                each.disabled = True
            word = "Approved" if approved else "Denied"
            self._host.tell(f"{word}: {request.tool.name} of run {self._run_id}.")
            self._host.refresh()

        self._host.start(give)

    def _edited(self, typed: str) -> dict[str, Any]:
        tool = self._pending.request.tool
        try:
            return edited_arguments(tool, typed)
        except ValueError as error:
            raise ConfigurationError(
                f"the arguments of {tool.name} cannot be taken: {error}",
                remedy="change them, and approve again",
            ) from None


def _told(pending: PendingApproval) -> str:
    """What will happen, and with what."""
    request = pending.request
    words = described(request.tool, request.arguments)
    lines = "".join(f"<div>{html_text(each)}</div>" for each in words)
    formatted = indented_json(request.arguments)
    preview = f"<pre>{html_text(request.preview)}</pre>" if request.preview else ""
    return f"{lines}{preview}<pre>{html_text(truncate(formatted, _ARGUMENTS_CHARS))}</pre>"
