"""A runbook's run on behalf of an MCP client, from its call to its result.

The run is a task of its own, because a call need not be one request: since protocol 2026-07-28 a
server that has a question ends the request with it, and the client calls again with the answer.

Importing this imports the mcp SDK.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    InputResponses,
    TextContent,
)

from aof_nb.call_description import described
from aof_nb.policy import Answer, ApprovalRequest
from aof_nb.readable import printable, readable
from aof_nb.runbooks.progress import CellStarted, Progress

HEARTBEAT = 10.0
"""Seconds without news after which the client is told that the run goes on."""

PATIENCE = 600.0
"""Seconds that a question, and the result of a run that nobody waits for, are kept."""

_QUESTION = "approval"
_ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {
            "type": "string",
            "title": "Allow it?",
            "enum": ["no", "once", "similar"],
            "enumNames": ["No", "Yes, once", "Yes, and similar calls of this run"],
            "default": "no",
        }
    },
    "required": ["decision"],
}


@dataclass(eq=False)
class _Question:
    """A question that waits for its answer; cancelling the future withdraws it."""

    request: ApprovalRequest
    answer: asyncio.Future[Answer]

    def settle(self, said: ElicitResult | None, by: str) -> None:
        """Answers it with what a form came back with; None is a no."""
        content = said.content if said is not None and said.action == "accept" else None
        decision = (content or {}).get("decision")
        if not self.answer.done():
            self.answer.set_result(
                Answer(
                    approved=decision in {"once", "similar"},
                    similar=decision == "similar",
                    digest=self.request.digest,
                    by=by,
                    via="mcp",
                )
            )


class ServedRun:
    """A run that a client's requests look after. It is an `Approver`.

    Args:
        tool: The tool's name, and
        arguments: what it was called with: only the same call may go on with the run.
        asks: Whether the client's user is asked for approvals; else they are refused.

    Attributes:
        token: Names the run to the client; nobody else can guess it.
        refused: What needed an approval and was not approved.
        attended: Whether a request waits for it.
    """

    def __init__(self, tool: str, arguments: Mapping[str, Any], *, asks: bool) -> None:
        self.tool = tool
        self.arguments = arguments
        self.token = secrets.token_urlsafe(24)
        self.refused: list[ApprovalRequest] = []
        self.attended = False
        self._asks = asks
        self._news: asyncio.Queue[Progress | _Question | None] = asyncio.Queue()
        self._task: asyncio.Task[CallToolResult] | None = None
        self._open: _Question | None = None
        self._cell: CellStarted | None = CellStarted(0, 0, "starting")
        self._beats = 0

    def start(self, work: Callable[[], Awaitable[CallToolResult]]) -> asyncio.Task[CallToolResult]:
        """Starts the task that does the work."""

        async def worked() -> CallToolResult:
            return await work()

        self._task = asyncio.create_task(worked(), name=f"runbook:{self.tool}")
        self._task.add_done_callback(lambda _: self._news.put_nowait(None))
        return self._task

    def tell(self, progress: Progress) -> None:
        """Passes on how far the run is."""
        self._news.put_nowait(progress)

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Has the client ask its user; says no where that is not wanted or nobody answers."""
        question = _Question(request, asyncio.get_running_loop().create_future())
        if self._asks:
            self._news.put_nowait(question)
        else:
            question.settle(None, "the server of the runbooks, which asks nobody")
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await question.answer
        except TimeoutError:
            by = f"nobody: there was no answer within {PATIENCE:g} s"
            answer = Answer(approved=False, digest=request.digest, by=by, via="mcp")
        finally:
            question.answer.cancel()
        if not answer.approved:
            self.refused.append(request)
        return answer

    async def attend(
        self, context: ServerRequestContext[Any, Any], responses: InputResponses | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Tells a client of the run until it ends, or until it asks something.

        Cancelling ends the run, and returns when nothing of it is left.

        Args:
            context: The request that waits for it.
            responses: The answers that the request brings, if it is not the first one.
        """
        assert self._task is not None
        if self.attended:
            raise MCPError(INVALID_PARAMS, "another request waits for this run already")
        self.attended = True
        try:
            if self._open is not None:
                given = (responses or {}).get(_QUESTION)
                form = given if isinstance(given, ElicitResult) else None
                self._open.settle(form, _user_of(context))
                self._open = None
            while (news := await self._next()) is not None:
                if not isinstance(news, _Question):
                    await self._report(context, news)
                elif (question := await self._put(context, news)) is not None:
                    return question
            if self._task.cancelled():
                said = TextContent(type="text", text="the server was stopped, and the run with it")
                return CallToolResult(content=[said], is_error=True)
            return self._task.result()
        except BaseException:
            await self.stop()
            raise
        finally:
            self.attended = False

    async def stop(self) -> None:
        """Ends the run, and waits until nothing of it is left."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._task])

    async def _next(self) -> Progress | _Question | None:
        """What happens next; the running cell again where nothing does."""
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    return await self._news.get()
            except TimeoutError:
                if self._cell is not None:
                    return self._cell

    async def _report(self, context: ServerRequestContext[Any, Any], news: Progress) -> None:
        """Tells how far it is, in cells after the start; each time more, as MCP demands."""
        done = float(news.cell)
        if isinstance(news, CellStarted):
            self._beats = self._beats + 1 if news is self._cell else 0
            self._cell = news
            done += self._beats / (self._beats + 1)
        elif news.cell < news.cells:
            return
        else:
            self._cell = None
            done += 1
        total = news.cells + 1 if news.cells else None
        await context.session.report_progress(done, total, news.title)

    async def _put(
        self, context: ServerRequestContext[Any, Any], question: _Question
    ) -> InputRequiredResult | None:
        """Puts a question to the client's user; what to answer the request with, if with that."""
        session = context.session
        capabilities = session.client_capabilities
        if question.answer.done():
            return None
        if capabilities is None or capabilities.elicitation is None:
            question.settle(None, "nobody: the MCP client cannot ask its user")
            return None
        params = ElicitRequestFormParams(
            message=_in_words(self.tool, question.request), requested_schema=_ANSWER_SCHEMA
        )
        if not session.can_send_request:
            self._open = question
            return InputRequiredResult(
                input_requests={_QUESTION: ElicitRequest(params=params)}, request_state=self.token
            )
        asking = asyncio.create_task(
            session.elicit_form(params.message, _ANSWER_SCHEMA, context.request_id)
        )
        either: list[asyncio.Future[Any]] = [asking, question.answer]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            await asyncio.wait([asking])
        if not asking.cancelled():
            said = asking.result() if asking.exception() is None else None
            question.settle(said, _user_of(context) if said else f"nobody: {asking.exception()}")
        return None


def _user_of(context: ServerRequestContext[Any, Any]) -> str:
    client = context.session.client_params
    return f"the user of {client.client_info.name}" if client else "the MCP client's user"


def _in_words(runbook: str, request: ApprovalRequest) -> str:
    arguments = "\n".join(
        f"  {printable(name)}: {readable(value)}" for name, value in request.arguments.items()
    )
    call = f"{printable(request.tool.name)} ({request.tool.effect})"
    does = "\n".join(map(printable, described(request.tool, request.arguments)))
    asks = f"The runbook {runbook} wants to call {call}"
    said = [asks, does, arguments, printable(request.reason), request.hurry]
    return "\n".join(each for each in said if each)
