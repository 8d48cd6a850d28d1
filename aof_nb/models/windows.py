"""The context windows of models: how many tokens of input they take.

Windows by family, from the makers' pages on models and the `genai-prices` data; where a family's
models or hosts differ, the smallest. Since GPT-5, OpenAI reserves 128,000 tokens of a window for
output, so they are given without (of GPT-5's 400,000, "input tokens exceed the configured limit of
272000 tokens"). A model that is not here has no window until its provider
says that a request was too long: nothing is then said or left out before.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

OLLAMA_VARIABLE = "OLLAMA_CONTEXT_LENGTH"
OLLAMA_WINDOW = 4096
"""What Ollama runs a model with, whatever it could, on less than 24 GiB of video memory, and cuts
what is longer without a word. Source: Ollama's documentation, "Context length"."""

UNKNOWN = frozenset({"script", "replay", "vllm", "lmstudio"})
"""Providers whose servers are started with a window, and refuse what is longer."""

WINDOWS: tuple[tuple[str, int], ...] = (
    (r"claude-(?:fable|mythos)", 1_000_000),
    (r"claude-(?:opus|sonnet)-4[-.][6-9]\b", 1_000_000),
    (r"claude-(?:opus|sonnet|haiku)-[5-9]\b", 1_000_000),
    (r"claude-2(?!\.1)|claude-instant", 100_000),
    (r"claude", 200_000),
    (r"gpt-oss", 128_000),
    (r"gpt-(?:5\.\d+|5|6)-(?:mini|nano)|gpt-5(?:\.[12])?(?:-pro)?\b(?!\.|-chat)", 272_000),
    (r"gpt-5\.3-codex|gpt-5(?:\.\d)?-codex", 272_000),
    (r"gpt-5\.[4-9]|gpt-[6-9]", 872_000),
    (r"gpt-5", 128_000),
    (r"gpt-4\.1", 1_000_000),
    (r"gpt-4o|gpt-4-(?:turbo|1106|0125)|gpt-4\.5", 128_000),
    (r"gpt-4-32k", 32_000),
    (r"gpt-4", 8_192),
    (r"gpt-3\.5|gpt-35", 16_385),
    (r"\bo1-(?:mini|preview)", 128_000),
    (r"\bo[134]\b|codex-mini", 200_000),
    (r"gemini-1\.0|gemini-pro$", 32_000),
    (r"gemini.*(?:image|tts|audio)", 8_192),
    (r"gemini.*live", 131_072),
    (r"gemini", 1_000_000),
    (r"gemma-?3n|gemma-?3.*\b1b", 32_000),
    (r"gemma-?3", 128_000),
    (r"gemma-?4", 256_000),
    (r"gemma", 8_192),
    (r"nova-(?:premier|2)", 1_000_000),
    (r"nova-(?:lite|pro)", 300_000),
    (r"nova-micro", 128_000),
    (r"llama-?4|llama-?3[-.][1-3]", 128_000),
    (r"llama-?3", 8_192),
    (r"llama-?2", 4_096),
    (r"mistral-large-4", 1_000_000),
    (r"mistral-large-(?:2512|3)|mistral-medium-3-5|mistral-small-2603", 256_000),
    (r"devstral-2|ministral-(?:8|14)b-2512|codestral-25", 256_000),
    (r"mixtral-8x22b", 64_000),
    (r"mixtral|mistral-7b|mistral-saba|voxtral-small|mistral-(?:large|small)-2402", 32_000),
    (r"magistral-\w+-2506|voxtral", 16_000),
    (r"(?:mistral|ministral|magistral|devstral|codestral)-", 128_000),
    (r"pixtral", 128_000),
    (r"deepseek-(?:v4|flash)", 1_000_000),
    (r"deepseek[-.]?(?:v3|r1)", 128_000),
    (r"deepseek", 64_000),
    (r"grok-4(?:[-.]1)?-fast", 2_000_000),
    (r"grok-4\.(?:20|3)\b", 1_000_000),
    (r"grok-4\.[5-9]", 500_000),
    (r"grok-(?:4|code|build)", 256_000),
    (r"grok-3", 131_072),
    (r"grok-2", 32_000),
    (r"qwen-?3\.[6-9]-(?:plus|flash)", 1_000_000),
    (r"qwen-?3\.[5-9]", 131_072),
    (r"qwen-?3-coder|qwen-?3-235b.*2507", 128_000),
    (r"qwen", 32_000),
    (r"kimi-k3", 1_000_000),
    (r"kimi", 128_000),
    (r"glm-5v?-turbo", 200_000),
    (r"glm-5", 1_000_000),
    (r"glm-4", 128_000),
    (r"command-a-plus", 192_000),
    (r"command-a", 256_000),
    (r"command-r", 128_000),
)
"""Patterns of models' names, in lower case, and the windows; the first that is found counts."""

_PATTERNS = tuple((re.compile(pattern), window) for pattern, window in WINDOWS)


def window_of(model: str, given: int | Mapping[str, int] | None = None) -> int | None:
    """A model's context window in tokens; None if it is not known.

    Args:
        model: Its full name.
        given: What the user says: for all models, or by their full names or their providers'.

    Raises:
        ConfigurationError: Never; an unusable ``OLLAMA_CONTEXT_LENGTH`` counts as not set.

    Example:
        >>> window_of("bedrock:us.anthropic.claude-haiku-4-5-20251001-v1:0")
        200000
        >>> window_of("ollama:qwen3", {"ollama": 32_768})
        32768
        >>> window_of("vllm:Qwen/Qwen3-32B") is None
        True
    """
    provider, _, name = model.partition(":")
    if isinstance(given, Mapping):
        found = given.get(model, given.get(provider))
        if found is not None:
            return found
    elif given is not None:
        return given
    if provider == "ollama" and not name.endswith("cloud"):
        set_to = os.environ.get(OLLAMA_VARIABLE, "")
        return int(set_to) if set_to.isdecimal() and int(set_to) else OLLAMA_WINDOW
    return None if provider in UNKNOWN else _listed(name.lower())


@functools.lru_cache(maxsize=256)
def _listed(name: str) -> int | None:
    return next((window for pattern, window in _PATTERNS if pattern.search(name)), None)


class StatedSizes(NamedTuple):
    """What a provider says of a request that it refused as too long, in tokens.

    `output` is what was asked for besides, if that is part of what made it too long.
    """

    used: int
    window: int
    output: int = 0


_STATED = (
    re.compile(r"(?P<used>\d+) tokens > (?P<window>\d+) maximum"),
    re.compile(r"exceed context limit: (?P<used>\d+) \+ (?P<output>\d+) > (?P<window>\d+)"),
    re.compile(
        r"maximum context length is (?P<window>\d+) tokens.*"
        r"\((?P<used>\d+) in (?:the|your) \w+[,;] (?P<output>\d+) "
    ),
    re.compile(
        r"maximum context length is (?P<window>\d+) tokens.*?"
        r"(?:resulted in|requested(?: about)?) (?P<used>\d+) tokens"
    ),
    re.compile(r"configured limit of (?P<window>\d+) tokens\. .*resulted in (?P<used>\d+) tokens"),
    re.compile(
        r"token count \(?(?P<used>\d+)\)? exceeds the maximum number of tokens allowed "
        r"\(?(?P<window>\d+)"
    ),
    re.compile(
        r"\((?P<used>\d+) tokens\) exceeds the available context size \((?P<window>\d+) tokens"
    ),
)


def stated_sizes(message: str) -> StatedSizes | None:
    """The sizes that a provider's refusal names; None if it does not.

    Example:
        >>> stated_sizes("prompt is too long: 208310 tokens > 200000 maximum")
        StatedSizes(used=208310, window=200000, output=0)
    """
    for pattern in _STATED:
        if (found := pattern.search(message)) is not None:
            stated = StatedSizes(**{name: int(size) for name, size in found.groupdict().items()})
            if 0 < stated.window - stated.output < stated.used:
                return stated
    return None
