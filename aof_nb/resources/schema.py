"""What people may write: the fields of an agent's and a server's spec."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WrapValidator,
    model_validator,
)

from aof_nb.durations import duration
from aof_nb.policy import Action, Policy, Rule
from aof_nb.ports import Effect


def seconds(value: Any) -> Any:
    """A duration such as ``30``, ``30s`` or ``2m``, in seconds."""
    if isinstance(value, str):
        try:
            return duration(value)
        except ValueError:
            raise ValueError("not a duration | write 30s, 2m or 1h") from None
    return value


def text(value: Any) -> Any:
    """A scalar as text: YAML reads ``8080`` and ``true`` as something else."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _memory(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _count(value: Any) -> Any:
    if value is True or value is False:
        raise ValueError("a number is wanted")
    return value


def _window(value: Any, _: Any) -> Any:
    given = value.values() if isinstance(value, dict) and value else [value]
    if any(type(each) is not int or each < 1 for each in given):
        raise ValueError("not a window | write tokens, or tokens by provider: {ollama: 32768}")
    return value


def _summary_model(value: Any) -> Any:
    if value is True or not isinstance(value, str | bool):
        raise ValueError("not a model | write provider:model, or false for no summary")
    return value


Count = Annotated[int, BeforeValidator(_count), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Text = Annotated[str, BeforeValidator(text)]


class Spec(BaseModel):
    """What every spec has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_the_empty(cls, value: Any) -> Any:
        """A field with nothing after its colon counts as not written."""
        if isinstance(value, dict):
            return {key: each for key, each in value.items() if each is not None}
        return value


class RuleSpec(Spec):
    """An exception of a policy."""

    action: Action
    tool: str = "*"
    effect: Effect | None = None
    arguments: dict[str, Text] = {}


class PolicySpec(Spec):
    """What may be done with and without asking."""

    read: Action = Action.ALLOW
    write: Action = Action.ASK
    destructive: Action = Action.ASK
    rules: list[RuleSpec] = []
    trusted_hosts: list[str] = []
    approval_timeout: Seconds | None = None

    def made(self, more: Iterable[Rule] = ()) -> Policy:
        """The policy, with more rules after its own."""
        rules = [
            Rule(
                action=each.action,
                tool=each.tool,
                effect=each.effect,
                arguments=dict(each.arguments),
            )
            for each in self.rules
        ]
        return Policy(
            read=Action(self.read),
            write=Action(self.write),
            destructive=Action(self.destructive),
            rules=(*rules, *more),
            trusted_hosts=tuple(self.trusted_hosts),
            approval_timeout=self.approval_timeout,
        )


class LimitsSpec(Spec):
    """How far a run may go."""

    max_turns: Count | None = None
    max_tool_calls: Count | None = None
    max_tokens: Count | None = None
    max_seconds: Seconds | None = None
    max_cost: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_corrections: Annotated[int, Field(ge=0)] | None = None
    max_repeats: Count | None = None
    max_output_chars: Count | None = None


class SamplingSpec(Spec):
    """How the model answers, in AOF's nested form."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Any = None
    presence_penalty: Any = None


class RetrySpec(Spec):
    """How often a failed model request is sent again."""

    attempts: Count | None = None
    first_delay: Seconds | None = None
    max_delay: Seconds | None = None
    budget: Seconds | None = None


class TimeoutsSpec(Spec):
    """When a request to the model is given up."""

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    silence: Seconds | None = None


class ContextSpec(Spec):
    """What happens when a conversation grows too long for its model."""

    window: Annotated[int | dict[str, int] | None, WrapValidator(_window)] = None
    warn_at: Annotated[float, Field(gt=0, le=1)] | None = None
    compact_at: Annotated[float, Field(gt=0, le=1)] | None = None
    keep_last: Count | None = None
    summary_model: Annotated[str | Literal[False] | None, BeforeValidator(_summary_model)] = None


class ResourcesSpec(Spec):
    """AOF's bounds of a run."""

    max_tokens: Count | None = None
    timeout: Seconds | None = None


class MemoryConfig(Spec):
    """AOF's nested form of the same."""

    url: str = ""
    path: str = ""
    max_messages: Count | None = None
    ttl: Seconds | None = None


class MemorySpec(Spec):
    """A memory, in AOF's forms."""

    type: str = ""
    url: str = ""
    persistence: str = ""
    enabled: bool = True
    path: str = ""
    max_messages: Count | None = None
    ttl: Seconds | None = None
    config: MemoryConfig | None = None


class ServerSpec(Spec):
    """An MCP server."""

    name: str = ""
    transport: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    command: str | None = None
    args: list[Text] = []
    env: dict[str, Text] = {}
    cwd: str | None = None
    url: str | None = Field(
        default=None, validation_alias=AliasChoices("url", "endpoint", "base_url")
    )
    headers: dict[str, Text] = {}
    timeout: Seconds | None = Field(
        default=None, validation_alias=AliasChoices("timeout", "timeout_secs")
    )
    tools: list[str] = []
    init_options: Any = None
    auto_reconnect: Any = None


class RedactionSpec(Spec):
    """What counts as secret, and which tools are told secrets."""

    enabled: bool = True
    patterns: dict[str, str] = {}
    allow: list[str] = []
    variables: list[str] = []
    tools: list[str] = ["*"]


class AgentSpec(Spec):
    """An agent."""

    name: str = ""
    description: str = ""
    model: str
    provider: str = ""
    fallback: Annotated[list[str], BeforeValidator(_listed)] = []
    retry: RetrySpec = RetrySpec()
    timeouts: TimeoutsSpec | None = None
    response_cache: bool | str = False
    journal: bool = True
    redaction: RedactionSpec | None = None
    context: ContextSpec = ContextSpec()
    instructions: str = Field(
        default="", validation_alias=AliasChoices("instructions", "system_prompt", "system")
    )
    tools: list[Any] = []
    mcp_servers: list[Any] = []
    memory: Annotated[MemorySpec, BeforeValidator(_memory)] | None = None
    max_context_messages: Count | None = None
    policy: PolicySpec = PolicySpec()
    limits: LimitsSpec = LimitsSpec()
    max_iterations: Count | None = Field(
        default=None, validation_alias=AliasChoices("max_iterations", "max_turns")
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    reasoning_effort: str | None = None
    thinking_tokens: Count | None = None
    parameters: SamplingSpec = Field(
        default=SamplingSpec(), validation_alias=AliasChoices("parameters", "model_config")
    )
    resources: ResourcesSpec = ResourcesSpec()
    env: dict[str, Text] = Field(default={}, validation_alias=AliasChoices("env", "environment"))
    labels: dict[str, Text] = Field(default={}, validation_alias=AliasChoices("labels", "tags"))
    stop: list[Text] = []
    budget: Any = None
    examples: Any = None
    input_schema: Any = None
    output_schema: dict[str, Any] | None = None
    research_phase: Any = None
    routing: Any = None
    sampling: Any = None
    state: Any = None
    vector_memory: Any = None


NOT_CARRIED_OUT = (
    "budget",
    "examples",
    "input_schema",
    "research_phase",
    "routing",
    "sampling",
    "state",
    "vector_memory",
)
"""Fields of AOF that are read, and have no effect yet."""


class Metadata(Spec):
    """A resource's metadata."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    namespace: str = ""
    description: str = ""
    labels: dict[str, Text] = {}
    annotations: dict[str, Text] = {}
