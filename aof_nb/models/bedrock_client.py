"""boto3's client for Bedrock, made once, with connections that another thread can hang up."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from aof_nb._version import __version__
from aof_nb.errors import ConfigurationError, MissingCredential
from aof_nb.models.bedrock_transport import current
from aof_nb.models.timeouts import Timeouts

TOKEN_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"  # noqa: S105  a variable's name
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CONNECTIONS = 64
_OPERATIONS = ("Converse", "ConverseStream")
_ANY_REGION = "us-east-1"
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_REMEDY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK (a "
    "Bedrock API key), pass api_key=..., or use a script: model, which needs no key"
)

_clients: dict[tuple[Any, ...], Any] = {}
_making = threading.Lock()


def client_key(
    region: str | None,
    profile: str | None,
    endpoint: str | None,
    token: str | None,
    limits: Timeouts,
) -> tuple[Any, ...]:
    """What tells one client from another, the environment included.

    Credentials that were wrong can be set right without a new kernel.
    """
    return (region, profile, endpoint, token, limits, *map(os.environ.get, _VARIABLES))


def shared(key: tuple[Any, ...]) -> Any:
    """The process's client for this key; made at its first use, which takes a second.

    Raises:
        MissingCredential: If boto3 finds no credentials.
        ConfigurationError: If there is no region, or boto3 cannot use what it has found.
    """
    with _making:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = _client(*key[:5])
        return client


def forget(key: tuple[Any, ...]) -> None:
    """Has the credentials looked for again, as a file of them may have been renewed."""
    _clients.pop(key, None)


def _client(
    region: str | None,
    profile: str | None,
    endpoint: str | None,
    token: str | None,
    limits: Timeouts,
) -> Any:
    import boto3
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    token = token or os.environ.get(TOKEN_VARIABLE)
    signature: dict[str, Any] = {}
    try:
        session = botocore.session.Session(profile=profile)
        if token:
            # A token needs no other credentials, and nobody is to be asked for them.
            session.register_component("credential_provider", _Nothing())
            signature = {"signature_version": UNSIGNED}
        elif session.get_credentials() is None:
            missing = MissingCredential("Amazon Bedrock", "AWS_ACCESS_KEY_ID")
            missing.remedy = _REMEDY
            raise missing
        region = region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if not region and token and endpoint:
            region = _ANY_REGION
        if not region:
            raise ConfigurationError(
                "no AWS region for Amazon Bedrock: the environment variable AWS_REGION is not set",
                remedy="set AWS_REGION, give the profile a region, or pass region=...",
            )
        client = boto3.Session(botocore_session=session).client(
            "bedrock-runtime",
            region_name=region,
            endpoint_url=endpoint,
            config=Config(
                connect_timeout=limits.connect,
                read_timeout=limits.longest,
                retries={"total_max_attempts": 1, "mode": "standard"},
                parameter_validation=False,
                user_agent_extra=f"aof-nb/{__version__}",
                **signature,
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"boto3 cannot make a client for Amazon Bedrock: {error}",
            remedy="check the AWS_... environment variables and the profile",
        ) from error
    if token:
        _check_private(client.meta.endpoint_url)
    _take_over(client, token, _transport(session, client.meta.endpoint_url, limits))
    return client


class _Nothing:
    """A provider of credentials that has none."""

    def load_credentials(self) -> None:
        """Gives none, without asking anybody."""


def _check_private(endpoint: str) -> None:
    """Checks that a token, which anybody on the way could read and use, goes over TLS or nowhere.

    Raises:
        ConfigurationError: If it would not.
    """
    found = urlsplit(endpoint)
    if found.scheme != "https" and found.hostname not in _LOOPBACK:
        raise ConfigurationError(
            f"a Bedrock API key is not sent to {endpoint}, which is not encrypted",
            remedy="give an address that begins with https://",
        )


def _take_over(client: Any, token: str | None, transport: Any) -> None:
    """Puts our bytes into a request, our connections under it, and keeps the response's bytes."""

    def fill(params: dict[str, Any], **_: Any) -> None:
        exchange = current()
        if exchange is not None:
            params["body"] = exchange.body
            params["headers"]["Content-Type"] = "application/json"
            if token:
                params["headers"]["Authorization"] = f"Bearer {token}"

    def send(request: Any, **_: Any) -> Any:
        return transport.send(request)

    def keep(
        response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
    ) -> None:
        exchange = current()
        if exchange is not None:
            exchange.headers = response_dict["headers"]
        customized_response_dict["body"] = response_dict["body"]

    for operation in _OPERATIONS:
        client.meta.events.register(f"before-call.bedrock-runtime.{operation}", fill)
        client.meta.events.register(f"before-send.bedrock-runtime.{operation}", send)
        client.meta.events.register(f"before-parse.bedrock-runtime.{operation}", keep)


def _transport(session: Any, endpoint: str, limits: Timeouts) -> Any:
    """An HTTP session of botocore's, with connections that say which exchange uses them."""
    from botocore.awsrequest import (
        AWSHTTPConnection,
        AWSHTTPConnectionPool,
        AWSHTTPSConnection,
        AWSHTTPSConnectionPool,
    )
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    class Watched:
        exchange: Any = None
        used_socket: Any = None

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            self.note()

        def request(self, *args: Any, **options: Any) -> Any:
            if self.sock is not None:  # type: ignore[attr-defined]
                self.note()
            return super().request(*args, **options)  # type: ignore[misc]

        def note(self) -> None:
            # Closed when the response has begun, if the server keeps no connection open.
            self.used_socket = self.sock  # type: ignore[attr-defined]
            exchange = current()
            if exchange is not None:
                exchange.watch(self)

    class Plain(Watched, AWSHTTPConnection):  # type: ignore[misc]
        pass

    class Secure(Watched, AWSHTTPSConnection):  # type: ignore[misc]
        pass

    class PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = Plain

    class SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = Secure

    verify = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    transport = URLLib3Session(
        verify=verify or True,
        proxies=get_environ_proxies(endpoint),
        timeout=(limits.connect, limits.longest),
        max_pool_connections=_CONNECTIONS,
        socket_options=[
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ],
    )
    transport._pool_classes_by_scheme.update(http=PlainPool, https=SecurePool)  # noqa: SLF001
    return transport
