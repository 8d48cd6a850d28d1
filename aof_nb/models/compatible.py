"""Providers that speak OpenAI's Chat Completions: what is different about each, as a table.

Sources: each provider's page on OpenAI compatibility. Gemini is spoken to in this way too,
since its own SDK takes 1.6 s to import, and its signatures of thoughts come along
(``extra_content``).
"""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

from aof_nb.errors import ConnectionFailed, MissingCredential, ModelError, ModelNotFound
from aof_nb.ports import StructuredOutput

_NO_KEY = "none"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, and how it differs from OpenAI.

    Args:
        name: The word before the colon in a model's name.
        title: What people call it.
        base_url: Its address.
        key_variable: The environment variable that holds its key; empty if it needs none.
        url_variable: The environment variable that overrides its address.
        example: A model of it.
        output_limit: Its parameter for the output's length; None for OpenAI's own rule.
        stream_options: Whether it has to be asked for the usage, as OpenAI.
        withholds: Whether it takes ``tool_choice: none``.
        structured: How it is held to an output schema; None for OpenAI's own rule.
        refused: Parameters that it refuses: they are not sent.
        refused_by_reasoning: Those that its models which reason refuse.
        thinking: Where the tokens that it may think for go in a request, as a path; empty if it
            takes no such number. A reasoning effort is not said beside it.
        shows_thinking: What stands there to be shown the thoughts, if that has to be asked for.
        reasoning_back: Whether its reasoning's text goes back with the message it led to: of the
            messages that call tools, or never.
        schema_dropped: Keywords of JSON Schema that it refuses in a tool's declaration: left out.
            Arguments are checked against the whole schema all the same.
        longest_call_id: Characters of a call's id that it takes.
        exact_call_id: Whether an id must have as many, and be letters and digits only.
        whole_calls: Whether each piece of a call is a whole one, whatever its index says.
        schema_beside_tools: Whether a model can call tools while it is held to a schema; most
            servers would hold the calls to it too, or refuse.
        unreachable: What to do if nobody answers.
        unknown_model: What to do if it does not have a model; may name ``{model}``.
    """

    name: str
    title: str
    base_url: str = ""
    key_variable: str = ""
    url_variable: str = ""
    example: str = ""
    output_limit: str | None = "max_tokens"
    stream_options: bool = True
    withholds: bool = True
    structured: StructuredOutput | None = "tool"
    schema_beside_tools: bool = False
    refused: frozenset[str] = frozenset()
    refused_by_reasoning: frozenset[str] = frozenset()
    thinking: tuple[str, ...] = ()
    shows_thinking: str = ""
    reasoning_back: Literal["calls", "never"] = "calls"
    schema_dropped: frozenset[str] = frozenset()
    longest_call_id: int = 40
    exact_call_id: bool = False
    whole_calls: bool = False
    unreachable: str = ""
    unknown_model: str = ""

    def remedies(self, model: str) -> dict[type[ModelError], str]:
        """What to do about errors that mean something particular here."""
        found = {
            ConnectionFailed: self.unreachable,
            ModelNotFound: self.unknown_model.replace("{model}", model),
        }
        return {kind: remedy for kind, remedy in found.items() if remedy}

    def thinks_for(self, tokens: int) -> dict[str, Any]:
        """The part of a request that says for how many tokens it may think.

        Example:
            >>> endpoint_named("openrouter").thinks_for(2048)
            {'reasoning': {'max_tokens': 2048}}
        """
        *above, last = self.thinking
        found: dict[str, Any] = {last: tokens}
        if self.shows_thinking:
            found[self.shows_thinking] = True
        for name in reversed(above):
            found = {name: found}
        return found

    def credentials(self, api_key: str | None, base_url: str | None) -> tuple[str, str]:
        """The key and the address to use: as given, from the environment, or its own.

        Raises:
            MissingCredential: If it needs a key and there is none.
        """
        key = api_key or os.environ.get(self.key_variable or "-") or ""
        if not key:
            if self.key_variable:
                raise MissingCredential(self.title, self.key_variable)
            key = _NO_KEY
        address = base_url or os.environ.get(self.url_variable or "-") or self.base_url
        if "://" not in address:
            address = f"http://{address}"
        return key, address if base_url else _versioned(address)


def _versioned(address: str) -> str:
    """An address with a path: the variables of local servers name host and port only.

    Example:
        >>> _versioned("http://gpu-1:11434")
        'http://gpu-1:11434/v1'
    """
    host = address.partition("://")[2]
    return address if "/" in host.rstrip("/") else f"{address.rstrip('/')}/v1"


_REFUSED_BY_GEMINI = frozenset(
    (
        "$comment",
        "$id",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "dependentRequired",
        "dependentSchemas",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "multipleOf",
        "patternProperties",
        "propertyNames",
        "unevaluatedProperties",
        "uniqueItems",
    )
)
OPENAI = Endpoint(
    name="openai-chat",
    title="OpenAI (Chat Completions) and compatible servers",
    key_variable="OPENAI_API_KEY",
    url_variable="OPENAI_BASE_URL",
    example="openai-chat:gpt-4o",
    output_limit=None,
    structured=None,
    schema_beside_tools=True,
)
AZURE = Endpoint(
    name="azure",
    title="Azure OpenAI",
    key_variable="AZURE_OPENAI_API_KEY",
    url_variable="AZURE_OPENAI_ENDPOINT",
    example="azure:my-gpt-4o-deployment",
    output_limit=None,
    structured=None,
    schema_beside_tools=True,
    unknown_model="check AZURE_OPENAI_ENDPOINT, and that it has a deployment {model}",
)
ENDPOINTS = (
    Endpoint(
        name="google",
        title="Google Gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key_variable="GEMINI_API_KEY",
        url_variable="GEMINI_BASE_URL",
        example="google:gemini-3-flash-preview",
        structured="native",
        # "extra_body" is in the JSON itself: Gemini API, "OpenAI compatibility", "Thinking".
        thinking=("extra_body", "google", "thinking_config", "thinking_budget"),
        shows_thinking="include_thoughts",
        reasoning_back="never",
        whole_calls=True,
        schema_dropped=_REFUSED_BY_GEMINI,
    ),
    Endpoint(
        name="ollama",
        title="Ollama, on this machine",
        base_url="http://127.0.0.1:11434/v1",
        url_variable="OLLAMA_HOST",
        example="ollama:qwen3",
        whole_calls=True,
        unreachable="start it with `ollama serve`, or set OLLAMA_HOST to where it runs",
        unknown_model="get it with `ollama pull {model}`",
        structured="native",
    ),
    Endpoint(
        name="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        key_variable="GROQ_API_KEY",
        url_variable="GROQ_BASE_URL",
        example="groq:llama-3.3-70b-versatile",
        output_limit="max_completion_tokens",
        # It answers 400, "property 'reasoning_content' is unsupported".
        reasoning_back="never",
    ),
    Endpoint(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key_variable="OPENROUTER_API_KEY",
        url_variable="OPENROUTER_BASE_URL",
        example="openrouter:anthropic/claude-sonnet-5",
        thinking=("reasoning", "max_tokens"),
    ),
    Endpoint(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
        url_variable="MISTRAL_BASE_URL",
        example="mistral:mistral-large-latest",
        stream_options=False,
        structured="native",
        # A 422 for every parameter that it does not know, and for a longer id of a call.
        refused=frozenset(("reasoning_effort",)),
        reasoning_back="never",
        longest_call_id=9,
        exact_call_id=True,
        whole_calls=True,
    ),
    Endpoint(
        name="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com/v1",
        key_variable="DEEPSEEK_API_KEY",
        url_variable="DEEPSEEK_BASE_URL",
        example="deepseek:deepseek-chat",
    ),
    Endpoint(
        name="together",
        title="Together AI",
        base_url="https://api.together.xyz/v1",
        key_variable="TOGETHER_API_KEY",
        url_variable="TOGETHER_BASE_URL",
        example="together:Qwen/Qwen3-235B-A22B-Instruct-2507-tput",
    ),
    Endpoint(
        name="xai",
        title="xAI",
        base_url="https://api.x.ai/v1",
        key_variable="XAI_API_KEY",
        url_variable="XAI_BASE_URL",
        example="xai:grok-4",
        # xAI, "Reasoning": models that reason take neither; grok-4 cannot be told how hard to.
        refused_by_reasoning=frozenset(("stop", "reasoning_effort")),
        reasoning_back="never",
        structured="native",
        schema_beside_tools=True,
    ),
    Endpoint(
        name="vllm",
        title="vLLM, on this machine",
        base_url="http://127.0.0.1:8000/v1",
        url_variable="VLLM_BASE_URL",
        example="vllm:Qwen/Qwen3-32B",
        unreachable="start it with `vllm serve MODEL`, or set VLLM_BASE_URL to where it runs",
        structured="native",
    ),
    Endpoint(
        name="lmstudio",
        title="LM Studio, on this machine",
        base_url="http://127.0.0.1:1234/v1",
        url_variable="LMSTUDIO_BASE_URL",
        example="lmstudio:qwen3-8b",
        unreachable="start it with `lms server start`, or set LMSTUDIO_BASE_URL to where it runs",
        structured="native",
    ),
)


def endpoint_named(name: str) -> Endpoint:
    """The endpoint of a provider.

    Example:
        >>> endpoint_named("groq").key_variable
        'GROQ_API_KEY'
    """
    return next(each for each in (OPENAI, AZURE, *ENDPOINTS) if each.name == name)
