"""What a provider's refusal means: each error classified once.

Sources: Anthropic's and OpenAI's pages on API errors, and what their SDKs raise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from aof_nb.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentRefused,
    ContextTooLong,
    ModelError,
    ModelNotFound,
    ModelTimeout,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerError,
)
from aof_nb.models.waits import asked_wait, said_wait

_BY_WORD: dict[str, type[ModelError]] = {
    "api_error": ServerError,
    "authentication_error": AuthenticationFailed,
    "billing_error": QuotaExceeded,
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "content_filter": ContentRefused,
    "content_policy_violation": ContentRefused,
    "bio_policy": ContentRefused,
    "cyber_policy": ContentRefused,
    "data_residency_mismatch": BadRequest,
    "image_content_policy_violation": ContentRefused,
    "misalignment_policy_violation": ContentRefused,
    "DeploymentNotFound": ModelNotFound,
    "INTERNAL": ServerError,
    "ResponsibleAIPolicyViolation": ContentRefused,
    "exceeded_current_quota_error": QuotaExceeded,
    "insufficient_quota": QuotaExceeded,
    "invalid_model": ModelNotFound,
    "invalid_prompt": BadRequest,
    "invalid_api_key": AuthenticationFailed,
    "invalid_request_error": BadRequest,
    "model_not_found": ModelNotFound,
    "not_found_error": ModelNotFound,
    "overloaded_error": Overloaded,
    "permission_error": PermissionDenied,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "request_too_large": ContextTooLong,
    "server_error": ServerError,
    "server_is_overloaded": Overloaded,
    "slow_down": Overloaded,
    "timeout_error": ModelTimeout,
    "DEADLINE_EXCEEDED": ModelTimeout,
    "NOT_FOUND": ModelNotFound,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAUTHENTICATED": AuthenticationFailed,
    "UNAVAILABLE": Overloaded,
}
_BY_STATUS: dict[int, type[ModelError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: PermissionDenied,
    404: ModelNotFound,
    408: ModelTimeout,
    409: ServerError,
    413: ContextTooLong,
    422: BadRequest,
    429: RateLimited,
    498: Overloaded,
    503: Overloaded,
    504: ModelTimeout,
    529: Overloaded,
}
_TOO_LONG = re.compile(
    r"(?:prompt|input) is too long|context (?:length|window|limit|size)|maximum context"
    r"|too many (?:input )?tokens|exceeds the maximum number of tokens"
    r"|too large for model|maximum prompt length|exceeds the available context"
    r"|exceed the configured limit of \d+ tokens|reduce the length of the messages",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"credit balance is too low|exceeded your current quota"
    r"|specified (?:workspace )?API usage limits",
    re.IGNORECASE,
)
_WRONG_KEY = re.compile(
    r"API key not valid|API key expired|(?:incorrect|invalid) API key", re.IGNORECASE
)
_FLAGGED = re.compile(
    r"(?:input|prompt) was flagged|requires moderation|blocked by content filtering policy",
    re.IGNORECASE,
)
_REMEDIES: dict[type[ModelError], str] = {
    AuthenticationFailed: "check the API key, and that it belongs to this provider",
    PermissionDenied: "this key may not use this model: choose another, or have it enabled",
    ModelNotFound: "check the model's name; aofctl list models shows the providers",
    RateLimited: "wait and run it again, or name another model",
    Overloaded: "wait and run it again, or name another model",
    ServerError: "run it again; the provider's status page may say more",
    ModelTimeout: "run it again, or name a faster model",
    ContextTooLong: "start a new session, or lower limits.max_output_chars",
    QuotaExceeded: "top up the account or raise its spending limit",
    ContentRefused: "rephrase the prompt, or name another model",
}


def classify(
    provider: str,
    message: str,
    *,
    status: int | None = None,
    words: tuple[str | None, ...] = (),
    request_id: str | None = None,
    retry_after: float | None = None,
) -> ModelError:
    """The typed error for what a provider said.

    Args:
        provider: Its name.
        message: Its message.
        status: The HTTP status, if the error came as one.
        words: Its own codes and types for the error, the most telling first.
        request_id: Its id of the request.
        retry_after: Seconds it asks to wait.

    Example:
        >>> type(classify("anthropic", "Overloaded", words=("overloaded_error",))).__name__
        'Overloaded'
    """
    kind = next((_BY_WORD[word] for word in words if word in _BY_WORD), None)
    vague = (kind is BadRequest and status not in {None, 400}) or (
        kind is ServerError and status is not None and status < 500
    )
    if kind is None or vague:
        by_status = _BY_STATUS.get(status) if status is not None else None
        kind = by_status or kind or (ServerError if status is None or status >= 500 else BadRequest)
    if kind is BadRequest and _WRONG_KEY.search(message):
        kind = AuthenticationFailed
    # Groq calls a request that is larger than a minute's tokens a rate limit.
    if (kind is BadRequest or status == 413) and _TOO_LONG.search(message):
        kind = ContextTooLong
    # Ollama and others have one word for all that fails on their side.
    if kind is ServerError and status in {503, 529}:
        kind = Overloaded
    if kind in {BadRequest, PermissionDenied} and _FLAGGED.search(message):
        kind = ContentRefused
    if kind is RateLimited and retry_after is None:
        # In a stream, no headers say it.
        retry_after = said_wait(message)
    # Gemini says the same of a minute's quota, with the time after which there is more.
    if kind in {BadRequest, RateLimited} and _NO_CREDIT.search(message) and retry_after is None:
        kind = QuotaExceeded
    where = f"{provider}: {message}" + (f" (HTTP {status})" if status is not None else "")
    return kind(
        where,
        provider=provider,
        status=status,
        request_id=request_id,
        retry_after=retry_after,
        remedy=_REMEDIES.get(kind, ""),
    )


def from_response(
    provider: str, status: int, headers: Mapping[str, str], body: bytes
) -> ModelError:
    """The typed error for an HTTP response that is not a success."""
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        decoded = None
    if isinstance(decoded, list) and decoded:
        # Gemini wraps its errors in a list.
        decoded = decoded[0]
    details = decoded.get("error", decoded) if isinstance(decoded, dict) else None
    if isinstance(details, str):
        details = {"message": details}
    if not isinstance(details, dict):
        text = body[:300].decode(errors="replace").strip() or "no message"
        details = {"message": text}
    words = tuple(_word(details.get(key)) for key in ("code", "type", "status"))
    return classify(
        provider,
        _text(details.get("message") or details.get("detail") or "no message") + _filtered(details),
        status=status,
        words=words,
        request_id=request_id_of(headers),
        retry_after=_retry_delay(details) or asked_wait(headers) or asked_wait(_told(details)),
    )


def not_an_answer(provider: str, headers: Mapping[str, str], body: bytes) -> ModelError:
    """The typed error for a success that is none, such as the page of a proxy.

    Args:
        provider: Its name.
        headers: The response's.
        body: What it began with.
    """
    kind = headers.get("content-type", "")
    if kind.startswith("application/json"):
        return from_response(provider, 200, headers, body)
    said = body[:200].decode(errors="replace").strip()
    return ServerError(
        f"{provider}: something else answered, with {kind or 'no content type'}: {said}",
        provider=provider,
        request_id=request_id_of(headers),
        remedy="check the proxy and the endpoint; a gateway may be answering in its place",
    )


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """A provider's id of a request, as its response's headers give it."""
    names = ("request-id", "x-request-id", "x-amzn-requestid")
    return next((found for name in names if (found := headers.get(name))), None)


def _filtered(details: dict[str, Any]) -> str:
    """Which of Azure's content filters has struck, for the message."""
    inner = details.get("innererror")
    results = inner.get("content_filter_result") if isinstance(inner, dict) else None
    if not isinstance(results, dict):
        return ""
    struck = [
        name
        for name, each in results.items()
        if isinstance(each, dict) and (each.get("filtered") or each.get("detected"))
    ]
    return f" [filtered: {', '.join(struck)}]" if struck else ""


def _text(message: Any) -> str:
    # Mistral's and other servers of FastAPI say what is wrong with a field as a structure.
    return message if isinstance(message, str) else msgspec.json.encode(message).decode()


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _told(details: dict[str, Any]) -> dict[str, str]:
    """Headers that OpenRouter's error has in its body."""
    metadata = details.get("metadata")
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    found = headers.items() if isinstance(headers, dict) else ()
    return {str(name).lower(): str(value) for name, value in found}


def _retry_delay(details: dict[str, Any]) -> float | None:
    """Seconds that Gemini's error asks to wait (``google.rpc.RetryInfo``)."""
    listed = details.get("details")
    for each in listed if isinstance(listed, list) else ():
        delay = each.get("retryDelay") if isinstance(each, dict) else None
        if isinstance(delay, str) and re.fullmatch(r"\d+(\.\d+)?s", delay):
            return float(delay[:-1])
    return None
