"""Approvals as records beside a run's journal: any face of any process may answer them.

A pending approval is a file that holds what is asked; its answer is a file beside it, which can
be written once. Both are bound by `ApprovalRequest.digest` to the tool's definition and the exact
arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from pathlib import Path

import msgspec

from aof_nb.cancellation import first_of, uncancelled
from aof_nb.errors import ApprovalPending, ConfigurationError, JournalError
from aof_nb.paths import make_private, write_private
from aof_nb.policy import Answer, ApprovalRequest, Approver
from aof_nb.redact import Redactor

DIRECTORY_NAME = "approvals"
_POLL_SECONDS = 0.25


class PendingApproval(msgspec.Struct, frozen=True, kw_only=True):
    """A call that waits for a person.

    Args:
        request: What is asked.
        time: Since when, in seconds of the Unix epoch.
        path: The file that holds it.
    """

    request: ApprovalRequest
    time: float
    path: str = ""


def _name(call_id: str, digest: str) -> str:
    """What a request's files are called: two calls may ask for the same thing."""
    asked = f"{call_id}\0{digest}".encode(errors="surrogatepass")
    return hashlib.sha256(asked).hexdigest()[:32]


class Approvals:
    """The approvals of one run.

    Args:
        run_directory: The run's directory.
    """

    def __init__(self, run_directory: Path) -> None:
        self._directory = run_directory / DIRECTORY_NAME

    def ask(self, request: ApprovalRequest) -> None:
        """Writes down that a call waits.

        Raises:
            JournalError: If it cannot be written.
        """
        path = self._directory / f"{_name(request.call_id, request.digest)}.json"
        pending = PendingApproval(request=request, time=time.time())
        for other in self.pending():
            # Asked before its tool was declared anew: nobody takes that answer any more.
            if other.request.call_id == request.call_id and other.request.digest != request.digest:
                self.withdraw(other.request)
        try:
            make_private(self._directory)
            write_private(path, msgspec.json.encode(pending), sync=True)
        except OSError as error:
            raise JournalError(f"the approval {path} cannot be written: {error}") from error

    def pending(self) -> list[PendingApproval]:
        """The calls that wait and are not answered, the oldest first."""
        found = []
        for path in self._directory.glob("*.json"):
            if path.name.endswith(".answer.json") or self._answer_path(path.stem).exists():
                continue
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                pending = msgspec.json.decode(path.read_bytes(), type=PendingApproval)
                found.append(msgspec.structs.replace(pending, path=str(path)))
        return sorted(found, key=lambda pending: pending.time)

    def answer(self, request: ApprovalRequest, answer: Answer) -> None:
        """Answers a call, once and for all.

        Raises:
            ConfigurationError: If it is answered already, or does not wait any more.
            JournalError: If the answer cannot be written.
        """
        name = _name(request.call_id, request.digest)
        path = self._answer_path(name)
        if not (self._directory / f"{name}.json").exists():
            # An answer that nobody takes now could be taken for another question later.
            raise ConfigurationError(
                f"{request.tool.name} does not wait for an answer any more",
                remedy="see aofctl show",
            )
        try:
            make_private(self._directory)
            write_private(path, msgspec.json.encode(answer), once=True, sync=True)
        except FileExistsError as error:
            raise ConfigurationError(
                f"{request.tool.name} has been answered already", remedy="see aofctl show"
            ) from error
        except OSError as error:
            raise JournalError(f"the answer {path} cannot be written: {error}") from error

    def take(self, request: ApprovalRequest) -> Answer | None:
        """The answer to a call, if there is one; it is good for this one use."""
        answer = self.given(request.call_id, request.digest)
        if answer is not None:
            self.withdraw(request)
        return answer

    def given(self, call_id: str, digest: str) -> Answer | None:
        """The answer to a call's question that no run has taken yet, if there is one."""
        path = self._answer_path(_name(call_id, digest))
        try:
            return msgspec.json.decode(path.read_bytes(), type=Answer)
        except (OSError, msgspec.MsgspecError):
            return None

    def withdraw(self, request: ApprovalRequest) -> None:
        """Removes a call that is answered, or no longer waits."""
        for path in (
            self._answer_path(_name(request.call_id, request.digest)),
            self._directory / f"{_name(request.call_id, request.digest)}.json",
        ):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes all that waits, and what was answered and not taken."""
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _answer_path(self, name: str) -> Path:
        return self._directory / f"{name}.answer.json"


class RecordedApprover:
    """Asks a face, and takes an answer from any other process meanwhile.

    Args:
        approvals: The run's approvals.
        face: Who asks here; None if nobody can, so that the run waits. It raises
            `ApprovalPending` where it finds nobody.
    """

    def __init__(self, approvals: Approvals, face: Approver | None) -> None:
        self._approvals = approvals
        self._face = face

    async def ask(self, request: ApprovalRequest) -> Answer:
        """The first answer, from wherever it comes.

        Raises:
            ApprovalPending: If there is none and nobody can be asked here.
        """
        if (answer := await asyncio.to_thread(self._approvals.take, request)) is not None:
            return answer
        await self._write_down(request)
        if self._face is None:
            raise waiting(request.tool.name, request.run_id)
        try:
            answer = await first_of(self._elsewhere(request), self._face.ask(request))
        except ApprovalPending:
            raise waiting(request.tool.name, request.run_id) from None
        except BaseException:
            self._approvals.withdraw(request)
            raise
        self._approvals.withdraw(request)
        return answer

    async def _write_down(self, request: ApprovalRequest) -> None:
        try:
            await uncancelled(asyncio.to_thread(self._approvals.ask, request))
        except asyncio.CancelledError:
            self._approvals.withdraw(request)
            raise

    async def _elsewhere(self, request: ApprovalRequest) -> Answer:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if (answer := await asyncio.to_thread(self._approvals.take, request)) is not None:
                return answer


class WithoutRecord:
    """Asks a face for a run that keeps no journal: it cannot wait, so that nobody means no.

    Args:
        face: Who asks.
    """

    def __init__(self, face: Approver) -> None:
        self._face = face

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Asks, and waits for the answer."""
        try:
            return await self._face.ask(request)
        except ApprovalPending as pending:
            by = f"nobody ({pending.message})"
            return Answer(approved=False, digest=request.digest, by=by)


class WithoutSecrets:
    """Keeps secrets that the run does not show out of what a person is shown, and what he types.

    Args:
        approver: Who asks.
        redactor: The run's.
    """

    def __init__(self, approver: Approver, redactor: Redactor) -> None:
        self._approver = approver
        self._redactor = redactor

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Asks, and waits for the answer."""
        preview = self._redactor.text(request.preview)
        answer = await self._approver.ask(msgspec.structs.replace(request, preview=preview))
        return msgspec.structs.replace(
            answer,
            arguments=self._redactor.value(answer.arguments),
            reason=self._redactor.text(answer.reason),
        )


def waiting(tool: str, run_id: str) -> ApprovalPending:
    """The error of a call whose run is to wait for its approval."""
    return ApprovalPending(
        f"{tool} waits for a person's approval",
        remedy=f"aofctl approve {run_id}, then aofctl resume {run_id}",
    )
