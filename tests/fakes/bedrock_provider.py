"""The fake Bedrock: scripted replies behind the real paths, headers, checks and errors."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from tests.fakes import bedrock, bedrock_rules, context_window
from tests.fakes.http_server import Request
from tests.fakes.providers import Answer, _FakeProvider
from tests.fakes.reply import Failure, Reply
from tests.fakes.rules import InvalidRequestError

_PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream)")
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/[a-z0-9-]+/bedrock/aws4_request, "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=[0-9a-f]{64}"
)


class FakeBedrock(_FakeProvider):
    """`POST /model/{modelId}/converse-stream` and `.../converse`.

    Args:
        api_key: the only bearer token accepted; None accepts any, and any signature.

    Example:
        >>> async with FakeBedrock() as fake:
        ...     fake.reply(Reply("hello"), Failure(429))
        ...     client = boto3.client("bedrock-runtime", endpoint_url=fake.base_url)
    """

    def __init__(
        self, *, api_key: str | None = None, check: bool = True, tolerate: bool = False
    ) -> None:
        super().__init__(api_key=api_key, check=check, tolerate=tolerate)
        self._issued = bedrock_rules.Issued()

    @property
    def base_url(self) -> str:
        """For `endpoint_url` and `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`."""
        return f"http://127.0.0.1:{self.port}"

    def _request_id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{id(self)} {len(self.requests)}"))

    def _headers(self, request_id: str, answer: Answer) -> dict[str, str]:
        headers = {
            "date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "connection": "keep-alive",
            "x-amzn-requestid": request_id,
        }
        if isinstance(answer, Failure) and answer.body is None:
            headers["x-amzn-errortype"] = (
                f"{bedrock.error_body(answer)[0]}:http://internal.amazon.com/coral/com.amazon.bedrock/"
            )
        return headers

    def _stream_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return headers | {"content-type": "application/vnd.amazon.eventstream"}

    def _streams(self, request: Request) -> bool:
        return request.path.endswith("/converse-stream")

    def _admit(self, request: Request) -> None:
        found = _PATH.fullmatch(request.path)
        if request.method != "POST" or found is None:
            raise _error(404, "UnknownOperationException", "")
        self._authenticate(request)
        if request.headers.get("content-type") != "application/json" or not isinstance(
            request.json, dict
        ):
            raise _error(400, "SerializationException", "")
        model = unquote(found[1])
        if not re.search(r"[.:/]", model):
            raise _error(400, "ValidationException", "The provided model identifier is invalid.")
        if self.check:
            streamed = self._streams(request)
            bedrock_rules.check(request.json, model, self._issued, streamed=streamed)

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not given:
            raise _error(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        if given.startswith("Bearer "):
            if self.api_key is not None and given.removeprefix("Bearer ") != self.api_key:
                raise _error(
                    403,
                    "AccessDeniedException",
                    "Authentication failed: Please make sure your API Key is valid.",
                )
            return
        signed = _SIGNED.fullmatch(given)
        if signed is None or not {"host", "x-amz-date"} <= set(signed["headers"].split(";")):
            raise _error(
                403,
                "IncompleteSignatureException",
                "Authorization header requires 'Credential' parameter.",
            )

    def _too_long(self, request: Request, used: int, window: int) -> Failure:
        return context_window.bedrock()

    def _error(self, failure: Failure, request_id: str) -> bytes:
        return bedrock.error_body(failure)[1]

    def _whole(self, request: Request, reply: Reply) -> Mapping[str, Any]:
        message = bedrock.bedrock_message(reply)
        self._issued.record(message["output"]["message"]["content"])
        return message

    def _frames(self, request: Request, reply: Reply) -> list[bytes]:
        self._whole(request, reply)
        return bedrock.bedrock_frames(reply, request.json)


def _error(status: int, kind: str, said: str) -> InvalidRequestError:
    error = InvalidRequestError(said, status=status)
    error.failure = Failure(status, said, type=kind)
    return error
