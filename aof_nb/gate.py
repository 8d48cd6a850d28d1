"""A run's policy at work: what lets a tool call through, asks a person about it, or keeps it back.

`Gate` holds the policy together with the answers given in the run; `Guarded` puts it around a
tool, as one layer around `Tool.call()`. No call of a run's tools goes by another way.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aof_nb.argument_checks import misfits
from aof_nb.call_description import described
from aof_nb.cancellation import first_of
from aof_nb.errors import ApprovalPending
from aof_nb.events import ApprovalAnswered, ApprovalRequested, CallWithheld
from aof_nb.outbound import destinations, trusted
from aof_nb.policy import (
    DRY_RUN,
    TIMED_OUT,
    Action,
    Answer,
    ApprovalRequest,
    ApproveMode,
    Approver,
    HasPlainForm,
    HasPreview,
    KnowsSimilar,
    Policy,
    held_to_dry_run,
    in_short,
    strictest,
)
from aof_nb.ports import Effect, Tool, ToolContext, ToolOutput, ToolSpec
from aof_nb.secret_placeholders import mentions_secret


class Edited(msgspec.Struct, frozen=True):
    """A call that may be made, with arguments that a person has changed.

    Args:
        arguments: What it is made with.
        by: Who has changed them.
    """

    arguments: dict[str, Any]
    by: str = ""


class Withheld(msgspec.Struct, frozen=True):
    """A call that a dry run does not make.

    Args:
        content: What the model is told instead.
    """

    content: str


_PREVIEW_SECONDS = 5.0


async def _preview_of(tool: Tool, arguments: dict[str, Any]) -> str:
    """What a call would change; empty where that cannot be said."""
    if not isinstance(tool, HasPreview):
        return ""
    try:
        async with asyncio.timeout(_PREVIEW_SECONDS):
            return str(await asyncio.to_thread(tool.preview, arguments))
    except Exception:  # noqa: BLE001  the question is asked without it
        return ""


class Gate:
    """A run's policy together with the answers given in it.

    Args:
        policy: The rules.
        mode: ``ask`` asks the approver, ``never`` refuses what would be asked, ``all``
            approves it, ``dry-run`` makes only calls that the policy allows, that read and that
            send nothing. What the policy denies stays denied in every mode.
        approver: Who is asked; None, with mode ``ask``, refuses.
        bounds: Policies that the rules may not exceed.
        approval_timeout: Seconds that a question waits, instead of the policy's own; the bounds'
            hold all the same.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        mode: ApproveMode = "ask",
        approver: Approver | None = None,
        bounds: Sequence[Policy] = (),
        approval_timeout: float | None = None,
    ) -> None:
        self._policies = (policy, *bounds)
        own = policy.approval_timeout if approval_timeout is None else approval_timeout
        waits = [own, *(each.approval_timeout for each in bounds)]
        self._patience = min((each for each in waits if each is not None), default=math.inf)
        self._mode = held_to_dry_run(mode)
        self._approver = approver
        self._similar: set[tuple[str, ...]] = set()
        self._open: dict[tuple[str, ...], list[tuple[ApprovalRequest, asyncio.Future[Answer]]]] = {}
        self._has_read: dict[str, None] = {}

    def note_read(self, spec: ToolSpec) -> None:
        """Notes that the run is shown what a tool returns, unless that comes from outside."""
        if not (spec.sends and spec.source == "built-in"):
            self._has_read[spec.name] = None

    def guard(self, tools: Sequence[Tool]) -> list[Tool]:
        """The tools, each behind this gate."""
        return [Guarded(tool, self) for tool in tools]

    def denial(self, tool: Tool, arguments: Mapping[str, Any]) -> str | None:
        """Why a call may not be made whatever a person says; None if the policy leaves it open."""
        plain = tool.plain(arguments) if isinstance(tool, HasPlainForm) else arguments
        action = strictest(self._policies, tool.spec, plain)
        if action is Action.DENY:
            return _denied(tool.spec)
        return _NOT_EXECUTED if self._withholds(tool.spec, arguments, action) else None

    def _withholds(self, spec: ToolSpec, arguments: Mapping[str, Any], action: Action) -> bool:
        """Whether this is a dry run, and a call that it does not make."""
        if self._mode != DRY_RUN:
            return False
        return (
            action is not Action.ALLOW
            or spec.effect is not Effect.READ
            or bool(self._untrusted(spec, arguments))
        )

    async def refusal(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        context: ToolContext,
        plain: Mapping[str, Any] | None = None,
    ) -> str | Edited | Withheld | None:
        """Why a call may not be made; None if it may, or what it may be made with instead.

        Args:
            tool: What is called.
            arguments: What with.
            context: Where it is called.
            plain: The arguments in the form that rules are matched against, if it is another.
        """
        spec = tool.spec
        action = strictest(self._policies, spec, arguments if plain is None else plain)
        if action is Action.DENY:
            return _denied(spec)
        if self._withholds(spec, arguments, action):
            does = tuple(described(spec, arguments))
            withheld = CallWithheld(context.call_id, spec.name, spec.effect.value, arguments, does)
            context.emit(withheld)
            return Withheld(_NOT_EXECUTED)
        leak = self._leak(spec, arguments)
        if action is Action.ALLOW and not leak:
            return None
        kind = _kind(tool, arguments)
        reason = f"the policy asks before a tool with effect {spec.effect.value}"
        if leak:
            kind, reason = (*kind, *leak), self._why(leak, arguments)
        if kind in self._similar or (self._mode == "all" and not leak):
            return None
        told = self._danger(spec, arguments)
        answer = await self.ask(tool, arguments, context, reason, kind=kind)
        if answer is None:
            why = f" ({reason})" if leak else ""
            return (
                f"{spec.name} ({spec.effect}) needs a person's approval{why}, and this run does "
                "not ask for any. It was not carried out. Say what you would have done."
            )
        if answer.approved:
            if answer.arguments is not None:
                return await self.edited(tool, answer.arguments, answer.by, context, told)
            if answer.similar:
                self._approve_similar(kind, answer)
            elif kind in self._similar:
                # The answer was one for all; the run may have read something since this was asked.
                return await self.refusal(tool, arguments, context, plain)
            return None
        return _told_no(spec, answer)

    def _approve_similar(self, kind: tuple[str, ...], answer: Answer) -> None:
        """Takes a yes for all calls of a kind, those included that are being asked about."""
        self._similar.add(kind)
        for request, others in self._open.get(kind, ()):
            if not others.done():
                others.set_result(
                    Answer(
                        approved=True,
                        digest=request.digest,
                        by=answer.by,
                        via=answer.via,
                        reason=_LIKE_OTHERS,
                    )
                )

    def _leak(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Who would be sent what the run has read, or a secret, without being trusted with it."""
        if not self._has_read and not mentions_secret(arguments):
            return ()
        return self._untrusted(spec, arguments)

    def _untrusted(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(
            host
            for host in destinations(spec, arguments)
            if not trusted(host, self._policies[0].trusted_hosts)
        )

    def _why(self, leak: tuple[str, ...], arguments: Mapping[str, Any]) -> str:
        to = f"this call would send data to {', '.join(leak)}"
        if mentions_secret(arguments):
            return f"{to}, and a secret is in it"
        read = ", ".join(list(self._has_read)[:3])
        more = ", ..." if len(self._has_read) > 3 else ""
        return f"this run has read {read}{more}, and {to}"

    def _danger(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> frozenset[str]:
        """What a person has to be told of a call that would send something."""
        leak = self._leak(spec, arguments)
        return frozenset((*leak, "[secret:") if leak and mentions_secret(arguments) else leak)

    async def edited(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        by: str,
        context: ToolContext,
        told: frozenset[str] = frozenset(),
    ) -> str | Edited:
        """A call as a person has changed it, or why it may not be made.

        If it would now send something that nobody was told of, that is asked about.

        Args:
            tool: What is called.
            arguments: What it is to be called with.
            by: Who has changed them.
            context: Where it is called.
            told: What the question before has said of where data goes.
        """
        if problem := misfits(tool.spec, arguments):
            return (
                f"{tool.spec.name} was not carried out: a person changed its arguments, and they "
                f"do not fit its schema: {problem}"
            )
        if (denial := self.denial(tool, arguments)) is not None:
            return denial
        danger = self._danger(tool.spec, arguments)
        leak = self._leak(tool.spec, arguments)
        if danger <= told or (*_kind(tool, arguments), *leak) in self._similar:
            return Edited(arguments, by)
        reason = f"the arguments were changed: {self._why(leak, arguments)}"
        try:
            answer = await self.ask(tool, arguments, context, reason)
        except ApprovalPending:
            answer = None
        if answer is None:
            return (
                f"{tool.spec.name} was not carried out: {reason}, and nobody could be asked "
                "about that."
            )
        if not answer.approved:
            return _told_no(tool.spec, answer)
        if answer.arguments is not None:
            return await self.edited(tool, answer.arguments, answer.by, context, danger)
        return Edited(arguments, by)

    async def ask(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        context: ToolContext,
        reason: str,
        *,
        kind: tuple[str, ...] | None = None,
    ) -> Answer | None:
        """Asks a person whether a call may be made.

        Args:
            tool: What is called.
            arguments: What with.
            context: Where it is called.
            reason: Why it is asked.
            kind: What similar calls share; an approval of those is one of this, too.

        Returns:
            The answer, or None where nobody is to be asked. One that was given for another
            definition or other arguments is a no, without a digest; none in time is one, too.

        Raises:
            ApprovalPending: If the run is to wait for the answer.
        """
        if self._mode != "ask" or self._approver is None:
            return None
        request = ApprovalRequest(
            run_id=context.run_id,
            call_id=context.call_id,
            tool=tool.spec,
            arguments=arguments,
            reason=reason,
            preview=await _preview_of(tool, arguments),
            expires=None if self._patience == math.inf else time.time() + self._patience,
        )
        digest = request.digest
        if kind in self._similar:
            # That was said while the preview was made.
            return Answer(approved=True, digest=digest)
        context.emit(
            ApprovalRequested(
                call_id=context.call_id,
                tool=request.tool.name,
                effect=request.tool.effect.value,
                arguments=arguments,
                digest=digest,
                reason=reason,
            )
        )
        asked = time.monotonic()
        answer = await self._in_time(request, self._approver, kind)
        waited = time.monotonic() - asked
        unchanged = (
            answer.digest == digest == msgspec.structs.replace(request, tool=tool.spec).digest
        )
        given = answer
        if answer.approved and not unchanged:
            given = msgspec.structs.replace(answer, approved=False, digest="")
        context.emit(
            ApprovalAnswered(
                call_id=context.call_id,
                digest=answer.digest,
                approved=given.approved,
                # Whoever changes a call has said nothing of others like it.
                similar=answer.similar and answer.arguments is None,
                by=answer.by,
                via=answer.via,
                reason=answer.reason,
                waited=waited,
                arguments=answer.arguments,
            )
        )
        return given

    async def _in_time(
        self, request: ApprovalRequest, approver: Approver, kind: tuple[str, ...] | None
    ) -> Answer:
        """The answer; a no if there is none when the time is over, which withdraws the question."""
        limit = None if self._patience == math.inf else self._patience
        try:
            async with asyncio.timeout(limit) as within:
                if kind is None:
                    return await approver.ask(request)
                return await self._asked(request, approver, kind)
        except TimeoutError:
            if not within.expired():
                raise
        why = f"nobody answered within {in_short(self._patience)}"
        return Answer(approved=False, digest=request.digest, via=TIMED_OUT, reason=why)

    async def _asked(
        self, request: ApprovalRequest, approver: Approver, kind: tuple[str, ...]
    ) -> Answer:
        """The answer to a question, or that of another which holds for it, too."""
        others: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = request, others
        questions = self._open.setdefault(kind, [])
        questions.append(question)
        try:
            return await first_of(approver.ask(request), others)
        finally:
            questions.remove(question)

    def allow_similar(self, tool: Tool, arguments: dict[str, Any], digest: str) -> None:
        """Takes an approval for similar calls up again that was given before the run stopped.

        Args:
            tool: What was called.
            arguments: What with.
            digest: That of what was approved; a tool that is another now is asked about again.
        """
        asked = ApprovalRequest(
            run_id="", call_id="", tool=tool.spec, arguments=arguments, reason=""
        )
        if asked.digest == digest:
            self._similar.add(_kind(tool, arguments))


_LIKE_OTHERS = "similar calls were approved for this run"
_NOT_EXECUTED = (
    "Dry run: not executed. This run only shows what would be done: nothing was changed or sent, "
    "and there is no result. Go on with your plan as if the call had succeeded, ask for the calls "
    "that would follow, and say in your answer what would be done; do not say that it was done."
)


def _denied(spec: ToolSpec) -> str:
    return (
        f"The policy denies {spec.name} ({spec.effect}) with these arguments. "
        "Do not try it again; find another way or say what is needed."
    )


def _told_no(spec: ToolSpec, answer: Answer) -> str:
    """What the model is told of a no."""
    if answer.via == TIMED_OUT:
        return (
            f"{spec.name} was not carried out: a person was asked, but {answer.reason}, and "
            "no answer is a no. Do not ask for it again; say what is left to be done."
        )
    if answer.digest:
        who = f" by {answer.by}" if answer.by else ""
        why = f" The reason given: {answer.reason}" if answer.reason else ""
        return f"Denied{who}: {spec.name} was not carried out.{why}"
    return (
        f"{spec.name} was not carried out: its definition or arguments are no longer "
        "those that were approved."
    )


def _kind(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    similar = tool.similar(arguments) if isinstance(tool, KnowsSimilar) else ""
    return tool.spec.fingerprint, similar


class Guarded:
    """A tool behind a gate: the policy layer around `Tool.call()`."""

    def __init__(self, tool: Tool, gate: Gate) -> None:
        self._tool = tool
        self._gate = gate
        # Protocols are slow to check: once, not at each call.
        self._plain = tool.plain if isinstance(tool, HasPlainForm) else None

    @property
    def spec(self) -> ToolSpec:
        """The tool's own definition."""
        return self._tool.spec

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool if the gate lets it through; else says why not."""
        plain = None if self._plain is None else self._plain(arguments)
        refusal = await self._gate.refusal(self._tool, arguments, context, plain)
        if isinstance(refusal, str):
            return ToolOutput(refusal, is_error=True, denied=True)
        if isinstance(refusal, Withheld):
            return ToolOutput(refusal.content, dry_run=True)
        self._gate.note_read(self.spec)
        if refusal is None:
            return await self._tool.call(arguments, context)
        return told_of_change(await self._tool.call(refusal.arguments, context), refusal)


def told_of_change(output: ToolOutput, edited: Edited) -> ToolOutput:
    """What a call came to, together with what a person has changed of it, for the model."""
    who = edited.by or "A person"
    arguments = msgspec.json.encode(edited.arguments).decode()
    change = f"[{who} approved this call with changed arguments: {arguments}]"
    return msgspec.structs.replace(output, content=f"{change}\n{output.content}")
