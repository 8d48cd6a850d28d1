"""Asking the person in front of the notebook, with buttons that work while the cell runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import secrets
import time
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from aof_nb.argument_checks import edited_arguments
from aof_nb.cancellation import first_of, uncancelled
from aof_nb.errors import ApprovalPending
from aof_nb.markdown import html_text
from aof_nb.notebook.cards import question
from aof_nb.notebook.input_line import input_line
from aof_nb.notebook.renderer import LiveRenderer, live_renderer
from aof_nb.notebook.rows import in_short
from aof_nb.notebook.screen import Frontend, clicks_arrive, frontend
from aof_nb.policy import Answer, ApprovalRequest, Approver
from aof_nb.ports import Effect
from aof_nb.readable import indented_json, printable
from aof_nb.terminal import TerminalApprover, user_name
from aof_nb.truncation import truncate

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_ARGUMENTS_CHARS = 20_000
_GREY = "var(--jp-ui-font-color2, #6b6b6b)"
_BORDERS = {
    Effect.READ: "var(--jp-border-color1, #bdbdbd)",
    Effect.WRITE: "var(--jp-warn-color1, #f57c00)",
    Effect.DESTRUCTIVE: "var(--jp-error-color1, #d32f2f)",
}
_YES = "var(--jp-success-color1, #2e7d32)"
_NO = "var(--jp-error-color1, #c62828)"


def find_approver(shell: InteractiveShell) -> Approver | None:
    """Who is asked in the cell that is being executed; None where nobody can be.

    The process that started the kernel, if it offers to answer (``AOF_APPROVER``); buttons,
    where a notebook shows the cell; a question on standard input, where a console does.
    """
    from aof_nb.approval_channel import approver_from_environment

    offered = approver_from_environment()
    if offered is not None:
        return offered
    place = frontend(shell)
    if place is Frontend.HEADLESS:
        return None
    line = TerminalApprover(functools.partial(input_line, getattr(shell, "kernel", None)))
    if place is Frontend.LIVE and clicks_arrive():
        renderer, buttons = live_renderer.get(), ButtonApprover(shell)
        return buttons if renderer is None else ViewApprover(renderer, FirstOf(buttons, line))
    return TerminalApprover() if place is Frontend.TERMINAL else line


_PATIENCE = 20.0


class FirstOf:
    """Asks in several ways at once, where it is not known which of them reaches anybody.

    A page may have no view because it lacks a package, or because it sends clicks in a way that an
    ipykernel before 7.4 takes only after the cell.

    Args:
        approvers: Who asks; one who can ask nobody leaves it to the others.
    """

    def __init__(self, *approvers: Approver) -> None:
        self._approvers = approvers

    async def ask(self, request: ApprovalRequest) -> Answer:
        """The first answer. Cancelling withdraws the question everywhere.

        Raises:
            ApprovalPending: If nobody can be asked in any way.
        """
        asking = [asyncio.ensure_future(each.ask(request)) for each in self._approvers]
        try:
            for answered in asyncio.as_completed(asking):
                with contextlib.suppress(ApprovalPending):
                    return await answered
        finally:
            for each in asking:
                each.cancel()
            await uncancelled(asyncio.gather(*asking, return_exceptions=True))
        raise ApprovalPending("there is nobody to ask", remedy="run it in a notebook's page")


class ViewApprover:
    """Asks in the live view of a run, where several questions may stand open.

    Args:
        renderer: What shows the run.
        otherwise: Who asks where the view does not appear.
    """

    def __init__(self, renderer: LiveRenderer, otherwise: Approver) -> None:
        self._renderer = renderer
        self._otherwise = otherwise
        self._open: dict[str, tuple[ApprovalRequest, asyncio.Future[Answer]]] = {}
        renderer.on("answer", self._answered)

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Shows the question and waits for a click. Cancelling withdraws it."""
        renderer = self._renderer
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        key = renderer.record.ask(request).key
        self._open[key] = request, answer
        renderer.open()
        renderer.update()
        try:
            return await first_of(answer, self._elsewhere(request))
        finally:
            self._open.pop(key, None)
            renderer.record.withdraw(request)
            renderer.update()

    async def _elsewhere(self, request: ApprovalRequest) -> Answer:
        """The answer of whoever asks where the view does not appear in time."""
        ready = self._renderer.is_ready.wait()
        try:
            await asyncio.wait_for(ready, _PATIENCE)
        except TimeoutError:
            return await self._otherwise.ask(request)
        await asyncio.Event().wait()
        raise AssertionError

    def _answered(self, message: Mapping[str, Any]) -> None:
        """Takes a click, which may come late, twice, or with arguments that do not fit."""
        key = str(message.get("call"))
        request, answer = self._open.get(key, (None, None))
        if request is None or answer is None or answer.done():
            return
        approved = message.get("approved") == "1"
        arguments = None
        if approved and message.get("edited"):
            try:
                arguments = _edited(request, str(message.get("arguments")))
            except ValueError as error:
                self._renderer.view.tell(problem={"call": key, "text": str(error)})
                return
        given = Answer(
            approved=approved,
            digest=request.digest,
            similar=approved and bool(message.get("similar")),
            by=user_name(),
            via="notebook",
            reason="" if approved else str(message.get("reason") or "").strip(),
            arguments=arguments,
        )
        answer.set_result(given)


def _edited(request: ApprovalRequest, text: str) -> dict[str, Any] | None:
    """The arguments that a person has typed; None if they are those that are asked about."""
    arguments = edited_arguments(request.tool, text)
    return None if arguments == request.arguments else arguments


class ButtonApprover:
    """Asks with three buttons in the running cell, and leaves a record in their place.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._publisher = shell.display_pub

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Shows the question and waits for a click. Cancelling withdraws it."""
        await asyncio.to_thread(importlib.import_module, "ipywidgets")
        loop = asyncio.get_running_loop()
        clicked: asyncio.Future[tuple[bool, bool]] = loop.create_future()

        def answer(approved: bool, similar: bool) -> None:
            loop.call_soon_threadsafe(_settle, clicked, (approved, similar))

        panel = _panel(request, answer)
        display_id = secrets.token_hex(5)
        self._publish(_question_bundle(request, panel), display_id, update=False)
        try:
            approved, similar = await clicked
        except asyncio.CancelledError:
            what = "Not answered in time" if request.left == 0 else "Not answered here"
            self._publish(_record(request, what), display_id, update=True)
            raise
        finally:
            panel.close_all()
        by = user_name()
        what = "Approved" if approved else "Denied"
        record = _record(request, what, similar=similar, by=by)
        self._publish(record, display_id, update=True)
        return Answer(
            approved=approved, digest=request.digest, similar=similar, by=by, via="notebook"
        )

    def _publish(
        self, content: tuple[dict[str, Any], dict[str, Any]], display_id: str, *, update: bool
    ) -> None:
        data, metadata = content
        self._publisher.publish(
            data=data, metadata=metadata, transient={"display_id": display_id}, update=update
        )


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _panel(request: ApprovalRequest, answer: Any) -> Any:
    """The widget: what is asked, and the buttons."""
    import ipywidgets as widgets

    def button(label: str, style: str, *, approved: bool, similar: bool = False) -> Any:
        made = widgets.Button(
            description=label, button_style=style, layout=widgets.Layout(width="auto")
        )
        made.on_click(lambda _: answer(approved, similar))
        return made

    buttons = [
        button("Approve", "success", approved=True),
        button("Deny", "danger", approved=False),
        button("Approve similar for this run", "", approved=True, similar=True),
    ]
    arguments = indented_json(request.arguments)
    asked = (
        f"{question(request)}"
        '<pre style="margin:4px 0;max-height:20em;overflow:auto;white-space:pre-wrap;'
        'overflow-wrap:anywhere">'
        f"{escape(truncate(printable(arguments), _ARGUMENTS_CHARS))}</pre>"
        f"{_preview(request.preview)}<div>{request.hurry}</div>"
    )
    return _Panel(widgets, asked, buttons, _BORDERS[request.tool.effect])


def _preview(text: str) -> str:
    if not text:
        return ""
    style = "margin:4px 0;max-height:20em;overflow:auto;white-space:pre-wrap"
    return f'<pre style="{style}">{html_text(text)}</pre>'


class _Panel:
    """The question's widgets, made and closed together."""

    def __init__(self, widgets: Any, question: str, buttons: list[Any], border: str) -> None:
        text = widgets.HTML(question)
        row = widgets.HBox(buttons)
        layout = widgets.Layout(border_left=f"3px solid {border}", padding="2px 0 6px 10px")
        self.box = widgets.VBox([text, row], layout=layout)
        self._all = [*buttons, row, text, self.box]

    def close_all(self) -> None:
        for each in self._all:
            each.close()


def _question_bundle(request: ApprovalRequest, panel: _Panel) -> tuple[dict[str, Any], Any]:
    data = dict(panel.box._repr_mimebundle_())
    data["text/plain"] = f"Approval needed: {request.tool.name} {in_short(request.arguments)}"
    return data, {}


def _record(
    request: ApprovalRequest, what: str, *, similar: bool = False, by: str = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stays where the question was: who answered, when, what."""
    call = f"{request.tool.name} {in_short(request.arguments)}".rstrip()
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    told = f" by {by}, {now}" if by else f", {now}"
    kind = " and similar calls in this run" if similar else ""
    colour = {"Approved": _YES, "Denied": _NO}.get(what, _GREY)
    html = (
        f'<div style="border-left:3px solid {colour};padding-left:10px;'
        f'font-size:var(--jp-ui-font-size1, 13px)">'
        f'<b style="color:{colour}">{what}</b>'
        f'<span style="color:{_GREY}">{html_text(told)}: </span>'
        f"<code>{html_text(call)}</code>{kind}</div>"
    )
    data = {"text/html": html, "text/plain": f"{what}{told}: {call}{kind}"}
    answered = {
        "call_id": request.call_id,
        "digest": request.digest,
        "answer": what.lower(),
        "similar": similar,
        "by": by,
        "time": time.time(),
    }
    return data, {"aof": answered}
