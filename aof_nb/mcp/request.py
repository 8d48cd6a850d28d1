"""A caller's request on its way through a session, and what is known of how far it came."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from mcp import Client

Work: TypeAlias = Callable[["Client"], Awaitable[Any]]


class Dropped(Exception):
    """A request went unanswered: the session ended, or the server refused to know it.

    Args:
        reason: What happened.
        sent: Whether the server may have received, and carried out, the request.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(eq=False)
class Request:
    """Something to be done with a session's client, by the session's owner.

    Args:
        work: What to do.
        context: The caller's, in which the work is done, so that traces and output find home.
        answer: The caller waits for it.
        task: Does the work.
        sent: Whether the server may have received it.
        status: The last HTTP status that was an error.
        timeout: Seconds without a sign of life after which it is given up; None for ever.
    """

    work: Work
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    answer: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    task: asyncio.Task[None] | None = None
    sent: bool = False
    status: int | None = None
    timeout: float | None = None
    _deadline: asyncio.Timeout | None = None

    async def run(self, client: Client) -> Any:
        """Does the work.

        Raises:
            TimeoutError: After `timeout` seconds without a sign of life.
        """
        async with asyncio.timeout(self.timeout) as self._deadline:
            return await self.work(client)

    def alive(self) -> None:
        """Grants the time anew, which the SDK's own timeout does not."""
        self._reschedule(self.timeout)

    def suspend(self) -> None:
        """Stops the clock until the next sign of life: it is waited for the user."""
        self._reschedule(None)

    def _reschedule(self, seconds: float | None) -> None:
        if self._deadline is None or self.answer.done():
            return
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            self._deadline.reschedule(None if seconds is None else loop.time() + seconds)

    def fail(self, problem: BaseException) -> None:
        """Answers with an exception, unless it has been answered or its caller has left."""
        if not self.answer.done():
            self.answer.set_exception(problem)


current: contextvars.ContextVar[Request | None] = contextvars.ContextVar(
    "aof_mcp_request", default=None
)
"""The request that the running task works for; the SDK passes it on to its transports' tasks."""
