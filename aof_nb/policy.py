"""Allow, ask or deny: what decides over every tool call, and what asks a person.

`Policy` decides by effect and by pattern; `aof_nb.gate` puts it around the tools of a run. *Ask*
goes to an `Approver`: a button in the notebook, a prompt in the terminal, or nobody. An approval is
bound, by `ApprovalRequest.digest`, to the tool's definition and the exact arguments, and is good
for one call; *approve similar* holds for the same definition, and the same kind of arguments where
the tool says what that is, until the run ends.
"""

from __future__ import annotations

import enum
import fnmatch
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from aof_nb.durations import time_limit
from aof_nb.errors import ConfigurationError
from aof_nb.ports import Effect, ToolSpec
from aof_nb.readable import seconds

APPROVE = "AOF_APPROVE"
"""The environment variable that says what happens where the policy asks."""
APPROVAL_TIMEOUT = "AOF_APPROVAL_TIMEOUT"
"""The environment variable that says how long a question waits for a person."""
TIMED_OUT = "timeout"
"""What `Answer.via` says where nobody has answered in time."""
BOUNDS = "AOF_POLICY"
"""The environment variable that holds policies which no agent of the process may exceed."""


class Action(enum.StrEnum):
    """What a policy says of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


ApproveMode: TypeAlias = Literal["ask", "never", "all", "dry-run"]
DRY_RUN: Final = "dry-run"
"""The mode in which nothing is done that would change or send something."""


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
        approval_timeout: Seconds that a question waits for a person; no answer is a no then. None
            for as long as it takes. A run that nobody can be asked in waits whatever this says.

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
    approval_timeout: float | None = None

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
        ConfigurationError: If it says something else than ``ask``, ``never``, ``all`` or
            ``dry-run``.
    """
    said = os.environ.get(APPROVE)
    if not said or said == "ask":
        return "ask"
    if said == "never":
        return "never"
    if said == "all":
        return "all"
    if said == DRY_RUN:
        return DRY_RUN
    raise ConfigurationError(f"{APPROVE} is {said!r}", remedy="use ask, never, all or dry-run")


def held_to_dry_run(mode: ApproveMode) -> ApproveMode:
    """A mode, unless ``AOF_APPROVE`` says that all of the process is a dry run."""
    return DRY_RUN if os.environ.get(APPROVE) == DRY_RUN else mode


def approval_timeout_from_environment() -> float | None:
    """The seconds in ``AOF_APPROVAL_TIMEOUT``; None if it says nothing.

    Raises:
        ConfigurationError: If it is no duration.
    """
    said = os.environ.get(APPROVAL_TIMEOUT)
    if not said:
        return None
    try:
        return time_limit(said)
    except ValueError as error:
        raise ConfigurationError(
            f"{APPROVAL_TIMEOUT}: {error}", remedy="write 30s, 5m or 1h; inf for no limit"
        ) from None


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


def in_short(limit: float) -> str:
    """A limit of time, as people say it.

    Example:
        >>> in_short(12), in_short(90), in_short(300), in_short(3600)
        ('12 s', '1 min 30 s', '5 min', '1 h')
    """
    return seconds(limit).removesuffix(" 0 s").removesuffix(" 0 min").replace(".0 s", " s")


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person is asked: this tool, as it is defined now, with exactly these arguments.

    Args:
        run_id: The run that asks.
        call_id: The call's id within the run.
        tool: What is to be called.
        arguments: What with.
        reason: Why it is asked.
        expires: When no answer becomes a no, in seconds of the Unix epoch; None for never.
        preview: What the call would change, such as a unified diff, as far as the tool can say it
            beforehand. It is for the person alone; the answer is not bound to it.
    """

    run_id: str
    call_id: str
    tool: ToolSpec
    arguments: dict[str, Any]
    reason: str
    expires: float | None = None
    preview: str = ""

    @property
    def left(self) -> float | None:
        """Seconds until no answer becomes a no; None if there is no hurry."""
        return None if self.expires is None else max(0.0, self.expires - time.time())

    @property
    def hurry(self) -> str:
        """What becomes of it without an answer, as people are told; empty if it can wait."""
        if self.left is None:
            return ""
        return f"Without an answer within {in_short(round(self.left))}, it is denied."

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
        via: Through which face: ``notebook``, ``terminal``...; ``timeout`` if nobody has answered.
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


@runtime_checkable
class HasPreview(Protocol):
    """A tool that can say what a call would change, before it is made."""

    def preview(self, arguments: Mapping[str, Any]) -> str:
        """What it would change, bounded, such as a unified diff. Called in a thread."""
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
