"""What OpenAI's two APIs share: the client, and what its errors are."""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from aof_nb.errors import MissingCredential, ModelError
from aof_nb.importing import imported
from aof_nb.loop_clients import shared_client
from aof_nb.models.failures import classify
from aof_nb.models.schema_dialects import OPENAI_SCHEMAS
from aof_nb.models.timeouts import Timeouts
from aof_nb.models.transport import sdk_timeout
from aof_nb.ports import OutputSchema, StructuredOutput

_VARIABLES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_OWN_HEADERS = ("OpenAI-Organization", "OpenAI-Project")
# Models before gpt-4o-2024-08-06 know no json_schema, and o1-mini no tools either.
_WITHOUT_SCHEMAS = re.compile(
    r"(?:^|/)(?:gpt-3\.5|gpt-4(?:$|-(?:\d|turbo|vision|32k))|gpt-4o-2024-05|chatgpt-4o)"
)
_WITHOUT_TOOLS = re.compile(r"(?:^|/)(?:o1-mini|o1-preview)")
_REASONING = re.compile(r"(?:^|/)(?:o\d|gpt-[5-9]|codex|gpt-oss)")


class Failure(msgspec.Struct):
    """An error as it comes inside a stream."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None

    def typed(self, provider: str) -> ModelError:
        """The error, classified."""
        status = self.code if isinstance(self.code, int) else None
        code = self.code if isinstance(self.code, str) else None
        message = self.message or code or "no message"
        return classify(provider, message, status=status, words=(code, self.type))


def is_reasoning(model: str) -> bool:
    """Whether a model reasons before it answers, by its name.

    Example:
        >>> is_reasoning("gpt-5-mini"), is_reasoning("gpt-4o")
        (True, False)
    """
    return _REASONING.search(model) is not None


def structured_output(model: str) -> StructuredOutput:
    """How a model of OpenAI's is held to a schema, by its name.

    Example:
        >>> structured_output("gpt-5"), structured_output("gpt-4-turbo")
        ('native', 'tool')
    """
    if _WITHOUT_TOOLS.search(model):
        return "prompt"
    return "tool" if _WITHOUT_SCHEMAS.search(model) else "native"


def json_schema(wanted: OutputSchema) -> dict[str, Any]:
    """What both APIs are told of a schema: strict if it can be said so."""
    strict = OPENAI_SCHEMAS.strict(wanted.schema) if wanted.strict else None
    said = {"name": wanted.name, "schema": strict or wanted.schema, "strict": strict is not None}
    return said | ({"description": wanted.description} if wanted.description else {})


async def connect(
    api_key: str | None,
    base_url: str | None,
    limits: Timeouts,
    *,
    foreign: bool = False,
) -> tuple[Any, Any]:
    """The SDK, and the loop's client for this key and address.

    Args:
        api_key: The key; from the environment if None.
        base_url: The address; from the environment if None.
        limits: When a request is given up.
        foreign: Whether the address is another provider's, which is not told the user's
            organisation at OpenAI.

    Raises:
        MissingCredential: If there is no key.
    """
    openai: Any = await imported("openai")

    def make() -> Any:
        try:
            return openai.AsyncOpenAI(
                api_key=api_key,
                base_url=base_url,
                timeout=sdk_timeout(openai, limits),
                max_retries=0,
                http_client=openai.DefaultAioHttpClient(),
                default_headers=dict.fromkeys(_OWN_HEADERS, openai.Omit()) if foreign else None,
            )
        except openai.OpenAIError as error:
            raise MissingCredential("OpenAI", "OPENAI_API_KEY") from error

    # A key that was wrong can be set right without a new kernel.
    given = map(os.environ.get, _VARIABLES)
    return openai, await shared_client(("openai", api_key, base_url, limits, foreign, *given), make)
