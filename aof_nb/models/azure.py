"""Azure OpenAI: Chat Completions by deployment, with a key or with Entra tokens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from aof_nb.errors import AuthenticationFailed, ConfigurationError, MissingExtra
from aof_nb.importing import imported
from aof_nb.loop_clients import shared_client
from aof_nb.models.compatible import AZURE
from aof_nb.models.openai_chat import OpenAIChatModel
from aof_nb.models.timeouts import Timeouts
from aof_nb.models.transport import sdk_timeout

_VARIABLES = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION")
# The newest version that is not a preview.
_API_VERSION = "2024-10-21"
_SCOPE = "https://cognitiveservices.azure.com/.default"


class AzureChatModel(OpenAIChatModel):
    """A deployment of Azure OpenAI.

    The key is from ``AZURE_OPENAI_API_KEY``; where there is none, Entra tokens are used, with
    the credentials that azure-identity finds (the extra ``azure``).

    Args:
        model: The deployment's name.
        api_key: The key.
        base_url: The resource's endpoint, such as ``https://mine.openai.azure.com``; from
            ``AZURE_OPENAI_ENDPOINT`` if None.
        api_version: From ``OPENAI_API_VERSION`` if None.
        timeout: Seconds after which a request is given up, one number or `Timeouts`; from
            ``AOF_MODEL_TIMEOUT`` if None.
        output_limit: The parameter that bounds the output, where the deployment's name does not
            say whether its model reasons.

    Example:
        >>> AzureChatModel("my-gpt-4o", base_url="https://mine.openai.azure.com").name
        'azure:my-gpt-4o'
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        timeout: float | Timeouts | None = None,
        output_limit: str | None = None,
    ) -> None:
        super().__init__(
            model,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            output_limit=output_limit,
            endpoint=AZURE.name,
        )
        self._api_version = api_version

    @property
    def _path(self) -> str:
        from urllib.parse import quote

        return f"/deployments/{quote(self._model, safe='')}/chat/completions"

    async def _connect(self) -> tuple[Any, Any]:
        openai: Any = await imported("openai")
        key, address, version = map(os.environ.get, _VARIABLES)
        key, address = self._api_key or key, self._base_url or address
        version = self._api_version or version or _API_VERSION
        if not address:
            raise ConfigurationError(
                "no address for Azure OpenAI: AZURE_OPENAI_ENDPOINT is not set",
                remedy="set it to https://YOUR-RESOURCE.openai.azure.com, or pass base_url=...",
            )
        identity = None if key else await _identity()

        def make() -> Any:
            return openai.AsyncAzureOpenAI(
                api_key=key,
                azure_ad_token_provider=None if key else _entra_tokens(identity),
                azure_endpoint=address,
                api_version=version,
                timeout=sdk_timeout(openai, self._timeouts),
                max_retries=0,
                http_client=openai.DefaultAioHttpClient(),
            )

        which = ("azure", key, address, version, self._timeouts)
        return openai, await shared_client(which, make)


async def _identity() -> Any:
    try:
        return await imported("azure.identity")
    except ImportError:
        raise MissingExtra("Azure OpenAI with Entra tokens", "azure") from None


def _entra_tokens(identity: Any) -> Callable[[], Awaitable[str]]:
    """What gives a valid Entra token, from the credentials azure-identity finds."""
    # The synchronous credential holds no connection that the loop would have to close, and what
    # it makes is cached until it expires.
    current = identity.get_bearer_token_provider(identity.DefaultAzureCredential(), _SCOPE)

    async def token() -> str:
        try:
            found: str = await asyncio.to_thread(current)
        except Exception as error:
            # Then follow all the places that were looked at.
            said = str(error).partition("\n")[0]
            raise AuthenticationFailed(
                f"azure: no Entra token ({type(error).__name__}: {said})",
                provider="azure",
                remedy="log in with `az login`, or set AZURE_OPENAI_API_KEY",
            ) from error
        return found

    return token
