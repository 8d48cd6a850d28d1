"""What the families of models on Bedrock take, and what they refuse.

Converse is one API, but what a model does not know is an error in it. Sources: "Supported models
and model features", "Get validated JSON results from models", "Prompt caching for faster model
inference" and "Inference request parameters and response fields" in the Amazon Bedrock User Guide;
the Amazon Nova User Guide; refusals as users report them. What Claude thinks like, and whether it
takes an effort or a schema, is the same at Anthropic.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from aof_nb.ports import StructuredOutput


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What a family of models takes.

    Args:
        name: What it is called.
        maker: Whose reasoning it can read: its own maker's.
        pattern: What its models' ids contain, as a regular expression.
        sampling: The sampling parameters it takes.
        both: Whether it takes temperature and top_p together.
        cache: Where it takes cache points.
        thinking: How it is asked to think: with a budget of tokens, or as it sees fit.
        effort: Where it takes a reasoning effort.
        reasoning: Whether its reasoning is sent back to it.
        status: Whether a tool's result may say that it is an error.
        system: Whether it takes a system prompt.
        streams_tools: Whether it can stream tool calls; else the response comes in one piece.
        mixed: Whether text may stand beside tool calls and results in a message.
        schema_keys: What may stand at the top of a tool's schema; all if empty.
        structured: How it is held to an output schema.
    """

    name: str
    pattern: str
    maker: str = ""
    sampling: tuple[str, ...] = ("temperature", "top_p")
    both: bool = True
    cache: tuple[Literal["system", "tools", "messages"], ...] = ()
    thinking: Literal["", "budget", "adaptive"] = ""
    effort: Literal["", "output_config", "reasoning_config", "reasoning_effort"] = ""
    reasoning: bool = False
    status: bool = False
    system: bool = True
    streams_tools: bool = True
    mixed: bool = True
    schema_keys: tuple[str, ...] = ()
    structured: StructuredOutput = "tool"


ADAPTIVE = {"type": "adaptive", "display": "summarized"}
"""How Claude is asked to think as it sees fit, and to show it, which by itself it does not."""

_EVERYWHERE: tuple[Literal["system", "tools", "messages"], ...] = ("system", "tools", "messages")

FAMILIES = (
    Family(
        name="Claude 3.5 Sonnet (June) and earlier",
        pattern=r"claude-(?:v?2|instant|3-(?:opus|sonnet|haiku)|3-5-sonnet-20240620)",
        maker="anthropic",
        status=True,
    ),
    Family(
        name="Claude 3.5",
        pattern=r"claude-3-5-",
        maker="anthropic",
        cache=_EVERYWHERE,
        status=True,
    ),
    Family(
        name="Claude 3.7 and 4",
        pattern=r"claude-(?:3-7-|(?:opus|sonnet)-4(?:-2025|-0(?!\d)|@|$))",
        maker="anthropic",
        cache=_EVERYWHERE,
        thinking="budget",
        reasoning=True,
        status=True,
    ),
    Family(
        name="Claude 4.1",
        pattern=r"claude-opus-4-1(?!\d)",
        maker="anthropic",
        both=False,
        cache=_EVERYWHERE,
        thinking="budget",
        reasoning=True,
        status=True,
    ),
    Family(
        name="Claude 4.5",
        pattern=r"claude-(?:opus|sonnet|haiku)-4-[2-5](?!\d)",
        maker="anthropic",
        both=False,
        cache=_EVERYWHERE,
        thinking="budget",
        reasoning=True,
        status=True,
        structured="native",
    ),
    Family(
        name="Claude 4.6",
        pattern=r"claude-(?:opus|sonnet|haiku)-4-6(?!\d)",
        maker="anthropic",
        both=False,
        cache=_EVERYWHERE,
        thinking="budget",
        effort="output_config",
        reasoning=True,
        status=True,
        structured="native",
    ),
    Family(
        name="Claude 4.7 and later",
        pattern=r"claude-",
        maker="anthropic",
        sampling=(),
        cache=_EVERYWHERE,
        thinking="adaptive",
        effort="output_config",
        reasoning=True,
        status=True,
        structured="native",
    ),
    Family(
        name="Nova 2",
        pattern=r"nova-2-",
        maker="amazon",
        cache=("system",),
        effort="reasoning_config",
        reasoning=True,
        status=True,
        schema_keys=("type", "properties", "required"),
    ),
    Family(
        name="Nova",
        pattern=r"\bnova-",
        maker="amazon",
        cache=("system",),
        status=True,
        schema_keys=("type", "properties", "required"),
    ),
    Family(name="Titan Text", pattern=r"titan-text", system=False, structured="prompt"),
    Family(
        name="Mistral Instruct",
        pattern=r"mistral\.mi(?:s|x)tral-(?:7b|8x7b)",
        system=False,
        streams_tools=False,
        structured="prompt",
    ),
    Family(name="Mistral Large", pattern=r"mistral-large-24", streams_tools=False, mixed=False),
    Family(name="Llama", pattern=r"\bllama", streams_tools=False, mixed=False),
    Family(name="Palmyra", pattern=r"palmyra", streams_tools=False, mixed=False),
    Family(name="gpt-oss", pattern=r"gpt-oss", effort="reasoning_effort"),
    Family(name="others", pattern=r""),
)
"""The families; the first whose pattern is found in a model's id counts."""


def family_of(model: str) -> Family:
    """The family a model belongs to, by its id, inference profile or ARN.

    Example:
        >>> family_of("us.anthropic.claude-sonnet-4-5-20250929-v1:0").name
        'Claude 4.5'
        >>> family_of("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0").name
        'Nova'
    """
    return next(family for family in FAMILIES if re.search(family.pattern, model))
