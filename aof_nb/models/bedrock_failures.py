"""What Bedrock's refusals mean, over HTTP and inside a stream.

Sources: "Troubleshooting Amazon Bedrock API Error Codes" and "Common errors" in the Amazon Bedrock
User Guide, botocore's service model of bedrock-runtime, and messages as users report them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aof_nb.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ModelError,
)
from aof_nb.models.failures import classify
from aof_nb.models.timeouts import Timeouts, struck

PROVIDER = "bedrock"
_WORDS = {
    "AccessDeniedException": "permission_error",
    "ExpiredToken": "authentication_error",
    "ExpiredTokenException": "authentication_error",
    "IncompleteSignature": "authentication_error",
    "InternalFailure": "server_error",
    "InternalServerError": "server_error",
    "InternalServerException": "server_error",
    "InvalidClientTokenId": "authentication_error",
    "InvalidSignatureException": "authentication_error",
    "MissingAuthenticationToken": "authentication_error",
    "MissingAuthenticationTokenException": "authentication_error",
    "ModelErrorException": "server_error",
    "ModelNotReadyException": "overloaded_error",
    "ModelStreamErrorException": "server_error",
    "ModelTimeoutException": "timeout_error",
    "NotAuthorized": "permission_error",
    "RequestExpired": "authentication_error",
    "RequestTimeout": "timeout_error",
    "RequestTimeoutException": "timeout_error",
    "ResourceNotFoundException": "not_found_error",
    "ServiceQuotaExceededException": "insufficient_quota",
    "ServiceUnavailable": "overloaded_error",
    "ServiceUnavailableException": "overloaded_error",
    "SignatureDoesNotMatch": "authentication_error",
    "ThrottlingException": "rate_limit_error",
    "TooManyRequestsException": "rate_limit_error",
    "UnrecognizedClientException": "authentication_error",
    "ValidationException": "invalid_request_error",
}
"""AWS's codes in the words that `aof_nb.models.failures` classifies."""

_BY_MESSAGE = (
    (
        "ValidationException",
        re.compile(
            r"input is too long|prompt is too long|exceed(?:s|ed)? (?:the )?"
            r"(?:model'?s? )?(?:maximum )?context|input length and `?max_tokens`? exceed"
            r"|too many input tokens|input tokens? (?:count )?exceed",
            re.IGNORECASE,
        ),
        "context_length_exceeded",
    ),
    (
        "ValidationException",
        re.compile(r"model identifier is invalid|model id is invalid", re.IGNORECASE),
        "not_found_error",
    ),
    (
        "ValidationException",
        re.compile(r"content filter(?:ing)? polic|blocked by (?:our )?content", re.IGNORECASE),
        "content_filter",
    ),
    (
        "AccessDeniedException",
        re.compile(r"authentication failed|api key is (?:not )?valid|bearer token", re.IGNORECASE),
        "authentication_error",
    ),
    (
        "ThrottlingException",
        re.compile(r"tokens per day|per day", re.IGNORECASE),
        "insufficient_quota",
    ),
)
"""Where the message tells more than the code."""

_REMEDIES = (
    (
        re.compile(r"on-demand throughput isn.t supported", re.IGNORECASE),
        "name an inference profile instead, such as bedrock:us. or bedrock:global. and the model",
    ),
    (
        re.compile(r"model access|don.t have access to the model", re.IGNORECASE),
        "enable the model for this account and region in the Bedrock console, or name another",
    ),
    (
        re.compile(r"not authorized to perform", re.IGNORECASE),
        "allow bedrock:InvokeModelWithResponseStream for this model in the IAM policy",
    ),
    (
        re.compile(r"expired", re.IGNORECASE),
        "renew the AWS credentials (aws sso login, or a new session token) and run it again",
    ),
    (
        re.compile(r"security token|signature|credential", re.IGNORECASE),
        "check the AWS credentials: their key, secret and session token belong together",
    ),
    (
        re.compile(r"tokens per day|per day", re.IGNORECASE),
        "name another model, or have the account's daily quota raised in Service Quotas",
    ),
)

NO_STREAMED_TOOLS = re.compile(r"doesn.t support tool use in streaming mode", re.IGNORECASE)


def refusal(
    code: str,
    message: str,
    *,
    status: int | None = None,
    request_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ModelError:
    """The typed error for what Bedrock said.

    Args:
        code: Its code, such as ``ThrottlingException``; in a stream it begins in lower case.
        message: Its message.
        status: The HTTP status, if the error came as one.
        request_id: AWS's id of the request.
        headers: The response's headers, for the time it asks to wait.

    Example:
        >>> type(refusal("throttlingException", "Too many requests")).__name__
        'RateLimited'
    """
    code = code[:1].upper() + code[1:]
    word = next(
        (word for known, told, word in _BY_MESSAGE if known == code and told.search(message)),
        _WORDS.get(code),
    )
    seconds = (headers or {}).get("retry-after", "")
    error = classify(
        PROVIDER,
        message or code or "no message",
        status=status,
        words=(word,),
        request_id=request_id,
        retry_after=float(seconds) if re.fullmatch(r"\d+(\.\d+)?", seconds) else None,
    )
    error.remedy = next(
        (remedy for told, remedy in _REMEDIES if told.search(message)), error.remedy
    )
    return error


def from_boto(error: Exception, limits: Timeouts) -> ModelError | None:
    """The typed error for what boto3 raised; None if it is none of boto3's.

    Args:
        error: What was raised.
        limits: When a request is given up.
    """
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    if isinstance(error, exceptions.ClientError):
        answer: dict[str, Any] = dict(error.response)
        told = answer.get("Error", {})
        meta = answer.get("ResponseMetadata", {})
        return refusal(
            str(told.get("Code") or ""),
            str(told.get("Message") or "").strip()[:_LONGEST],
            status=meta.get("HTTPStatusCode"),
            request_id=meta.get("RequestId"),
            headers=meta.get("HTTPHeaders"),
        )
    if isinstance(error, ResponseParserError):
        return refusal("InternalServerException", f"an answer that cannot be read: {error}")
    if not isinstance(error, exceptions.BotoCoreError):
        return None
    where = error.kwargs.get("endpoint_url") or ""
    where = where.partition("/model/")[0]
    place = f" at {where}" if where else ""
    if isinstance(error, exceptions.ConnectTimeoutError):
        return struck("connect", limits.connect, PROVIDER, where)
    if isinstance(error, exceptions.ReadTimeoutError):
        return struck("first_byte", limits.longest, PROVIDER, where)
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        cause = error.kwargs.get("error") or error
        return ConnectionFailed(
            f"{PROVIDER} cannot be reached{place} ({type(cause).__name__}: {cause})",
            provider=PROVIDER,
            remedy="check the network, the proxy, the region and the endpoint",
        )
    if isinstance(
        error,
        exceptions.NoCredentialsError
        | exceptions.PartialCredentialsError
        | exceptions.CredentialRetrievalError
        | exceptions.TokenRetrievalError
        | exceptions.SSOError,
    ):
        return AuthenticationFailed(
            f"{PROVIDER}: boto3 cannot get the AWS credentials: {error}",
            provider=PROVIDER,
            remedy="renew the AWS credentials (aws sso login, or new keys) and run it again",
        )
    return BadRequest(
        f"{PROVIDER}: boto3 cannot send the request: {error}",
        provider=PROVIDER,
        remedy="check the model's name and the AWS_... environment variables",
    )


_LONGEST = 600
