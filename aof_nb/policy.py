"""Allow, ask or deny: what decides over every tool call, and what asks a person.

`Policy` decides by effect and by pattern. `Guarded` wraps a tool in it, as one layer around
`Tool.call()`. *Ask* goes to an `Approver`: a button in the notebook, a prompt in the
terminal, or nobody. An approval is bound, by `ApprovalRequest.digest`, to the tool's
definition and the exact arguments, and is good for one call; *approve similar* holds for the
same definition, and the same kind of arguments where the tool says what that is, until the
run ends.
"""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from aof_nb.argument_checks import misfits
from aof_nb.errors import ConfigurationError
from aof_nb.events import ApprovalAnswered, ApprovalRequested
from aof_nb.outbound import destinations, trusted
from aof_nb.ports import Effect, Tool, ToolContext, ToolOutput, ToolSpec
from aof_nb.secret_placeholders import mentions_secret

APPROVE = "AOF_APPROVE"
"""The environment variable that says what happens where the policy asks."""
BOUNDS = "AOF_POLICY"
"""The environment variable that holds policies which no agent of the process may exceed."""


class Action(enum.StrEnum):
    """What a policy says of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


ApproveMode: TypeAlias = Literal["ask", "never", "all"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of a policy. All that it names must match.

    Args:
        action: What to do with a call that matches.
        tool: A shell-style pattern over the tool's name.
        effect: The effect the tool must have.
        arguments: Shell-style patterns over arguments; a list is matched joined by spaces.
            Patterns that deny commands are a help and no sandbox: there are many ways to
            write a command. To be sure, allow what is known and deny the rest.

    Example:
        >>> Rule(action=Action.ALLOW, tool="shell", arguments={"argv": "kubectl get *"}).action
        <Action.ALLOW: 'allow'>
    """

    action: Action
    tool: str = "*"
    effect: Effect | None = None
    arguments: Mapping[str, str] = {}

    def matches(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> bool:
        """Whether the rule speaks of this call."""
        if self.effect is not None and spec.effect is not self.effect:
            return False
        if not fnmatch.fnmatchcase(spec.name, self.tool):
            return False
        return all(
            name in arguments and fnmatch.fnmatchcase(_as_words(arguments[name]), pattern)
            for name, pattern in self.arguments.items()
        )


def _as_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_as_words(item) for item in value)
    return msgspec.json.encode(value).decode()


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be done without asking, with asking, and not at all.

    A matching rule that denies wins over everything; else the first matching rule; else the
    action for the tool's effect.

    Args:
        read: For tools that only look.
        write: For tools that change something, and those nothing is known of.
        destructive: For tools that may destroy something.
        rules: Exceptions, in order.
        trusted_hosts: Shell-style patterns of hosts that data may be sent to without asking again,
            whatever the run has read.

    Example:
        >>> policy = Policy(rules=(Rule(action=Action.ALLOW, tool="lab__*"),))
        >>> policy.decide(ToolSpec(name="lab__restart", description="", input_schema={}), {})
        <Action.ALLOW: 'allow'>
    """

    read: Action = Action.ALLOW
    write: Action = Action.ASK
    destructive: Action = Action.ASK
    rules: tuple[Rule, ...] = ()
    trusted_hosts: tuple[str, ...] = ()

    def decide(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> Action:
        """What the policy says of a call."""
        matching = [rule.action for rule in self.rules if rule.matches(spec, arguments)]
        if Action.DENY in matching:
            return Action.DENY
        if matching:
            return matching[0]
        by_effect = {
            Effect.READ: self.read,
            Effect.WRITE: self.write,
            Effect.DESTRUCTIVE: self.destructive,
        }
        return by_effect[spec.effect]


_STRICTNESS = (Action.ALLOW, Action.ASK, Action.DENY)


def bounds_from_environment() -> tuple[Policy, ...]:
    """The policies in ``AOF_POLICY``, a JSON array: what a runbook says of all its agents.

    Raises:
        ConfigurationError: If the variable holds something else.
    """
    written = os.environ.get(BOUNDS)
    if not written:
        return ()
    try:
        return msgspec.json.decode(written, type=tuple[Policy, ...])
    except msgspec.MsgspecError as error:
        raise ConfigurationError(
            f"{BOUNDS} holds no policies: {error}",
            remedy="it is set for a notebook's kernel by what runs the notebook: leave it alone",
        ) from error


def approve_from_environment() -> ApproveMode:
    """What ``AOF_APPROVE`` says; ``ask`` if it says nothing.

    Raises:
        ConfigurationError: If it says something else than ``ask``, ``never`` or ``all``.
    """
    said = os.environ.get(APPROVE)
    if not said or said == "ask":
        return "ask"
    if said == "never":
        return "never"
    if said == "all":
        return "all"
    raise ConfigurationError(f"{APPROVE} is {said!r}", remedy="use ask, never or all")


def bounded(environment: Mapping[str, str], bound: Policy | None) -> dict[str, str]:
    """An environment whose agents may not exceed a policy, nor those that hold here.

    Raises:
        ConfigurationError: If those that hold here cannot be read.
    """
    if bound is None:
        return dict(environment)
    bounds = (*bounds_from_environment(), bound)
    return {**environment, BOUNDS: msgspec.json.encode(bounds).decode()}


def strictest(policies: Sequence[Policy], spec: ToolSpec, arguments: Mapping[str, Any]) -> Action:
    """What several policies say of a call together: deny before ask, ask before allow."""
    actions = [each.decide(spec, arguments) for each in policies]
    return max(actions, key=_STRICTNESS.index)


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a person is asked: this tool, as it is defined now, with exactly these arguments."""

    run_id: str
    call_id: str
    tool: ToolSpec
    arguments: dict[str, Any]
    reason: str

    @property
    def digest(self) -> str:
        """Binds an answer to the tool's definition and the exact arguments."""
        arguments = msgspec.json.encode(self.arguments, order="deterministic")
        return hashlib.sha256(self.tool.fingerprint.encode() + b"\0" + arguments).hexdigest()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A person's answer to one request.

    Args:
        approved: Yes or no.
        digest: The digest of the request that is answered.
        similar: Whether the yes holds for similar calls in this run too.
        by: Who answered.
        via: Through which face: ``notebook``, ``terminal``...
        reason: Why, if that was said; the model is told it with a no.
        arguments: What the call is to be made with instead, if the person has changed them; the
            digest is that of the request all the same.
    """

    approved: bool
    digest: str
    similar: bool = False
    by: str = ""
    via: str = ""
    reason: str = ""
    arguments: dict[str, Any] | None = None


class Edited(msgspec.Struct, frozen=True):
    """A call that may be made, with arguments that a person has changed.

    Args:
        arguments: What it is made with.
        by: Who has changed them.
    """

    arguments: dict[str, Any]
    by: str = ""


@runtime_checkable
class Approver(Protocol):
    """A face that can ask a person."""

    async def ask(self, request: ApprovalRequest) -> Answer:
        """Asks, and waits for the answer. Cancelling withdraws the question."""
        ...


@runtime_checkable
class KnowsSimilar(Protocol):
    """A tool that says which of its calls are alike, for *approve similar*."""

    def similar(self, arguments: Mapping[str, Any]) -> str:
        """A key that similar calls share, such as the program of a command line."""
        ...


@runtime_checkable
class HasPlainForm(Protocol):
    """A tool whose arguments can say the same in several ways."""

    def plain(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments in the one form that rules are matched against."""
        ...


_ambient: list[Callable[[], Approver | None]] = []


def set_ambient_approver(find: Callable[[], Approver | None] | None) -> None:
    """Names the face that asks where a run is given no approver of its own.

    Args:
        find: Called at the start of each run; returns None where nobody can be asked. None
            takes the last one back.
    """
    _ambient[:] = [] if find is None else [find]


def ambient_approver() -> Approver | None:
    """The face of the place this process runs in, such as the notebook; None if there is none."""
    return _ambient[0]() if _ambient else None


class Gate:
    """A run's policy together with the answers given in it.

    Args:
        policy: The rules.
        mode: ``ask`` asks the approver, ``never`` refuses what would be asked, ``all``
            approves it. What the policy denies stays denied in every mode.
        approver: Who is asked; None, with mode ``ask``, refuses.
        bounds: Policies that the rules may not exceed.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        mode: ApproveMode = "ask",
        approver: Approver | None = None,
        bounds: Sequence[Policy] = (),
    ) -> None:
        self._policies = (policy, *bounds)
        self._mode = mode
        self._approver = approver
        self._similar: set[tuple[str, ...]] = set()
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
        denied = strictest(self._policies, tool.spec, plain) is Action.DENY
        return _denied(tool.spec) if denied else None

    async def refusal(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        context: ToolContext,
        plain: Mapping[str, Any] | None = None,
    ) -> str | Edited | None:
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
        leak = self._leak(spec, arguments)
        if action is Action.ALLOW and not leak:
            return None
        kind = _kind(tool, arguments)
        reason = f"the policy asks before a tool with effect {spec.effect.value}"
        if leak:
            kind, reason = (*kind, *leak), self._why(leak, arguments)
        if kind in self._similar or (self._mode == "all" and not leak):
            return None
        answer = await self.ask(tool, arguments, context, reason)
        if answer is None:
            why = f" ({reason})" if leak else ""
            return (
                f"{spec.name} ({spec.effect}) needs a person's approval{why}, and this run does "
                "not ask for any. It was not carried out. Say what you would have done."
            )
        if answer.approved:
            if answer.arguments is not None:
                return self.edited(tool, answer.arguments, answer.by)
            if answer.similar:
                self._similar.add(kind)
            return None
        if answer.digest:
            who = f" by {answer.by}" if answer.by else ""
            why = f" The reason given: {answer.reason}" if answer.reason else ""
            return f"Denied{who}: {spec.name} was not carried out.{why}"
        return (
            f"{spec.name} was not carried out: its definition or arguments are no longer "
            "those that were approved."
        )

    def _leak(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Who would be sent what the run has read, or a secret, without being trusted with it."""
        if not self._has_read and not mentions_secret(arguments):
            return ()
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

    def edited(self, tool: Tool, arguments: dict[str, Any], by: str) -> str | Edited:
        """A call as a person has changed it; why it may not be made, as a rule may deny it."""
        if problem := misfits(tool.spec, arguments):
            return (
                f"{tool.spec.name} was not carried out: a person changed its arguments, and they "
                f"do not fit its schema: {problem}"
            )
        return self.denial(tool, arguments) or Edited(arguments, by)

    async def ask(
        self, tool: Tool, arguments: dict[str, Any], context: ToolContext, reason: str
    ) -> Answer | None:
        """Asks a person whether a call may be made.

        Args:
            tool: What is called.
            arguments: What with.
            context: Where it is called.
            reason: Why it is asked.

        Returns:
            The answer, or None where nobody is to be asked. One that was given for another
            definition or other arguments is a no, without a digest.

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
        )
        digest = request.digest
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
        answer = await self._approver.ask(request)
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


def _denied(spec: ToolSpec) -> str:
    return (
        f"The policy denies {spec.name} ({spec.effect}) with these arguments. "
        "Do not try it again; find another way or say what is needed."
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
