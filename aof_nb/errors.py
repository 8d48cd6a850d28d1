"""The error taxonomy: what went wrong, whose fault it is, and what to do about it.

Every error that aof_nb raises on purpose is an `AofError` with a `remedy`: one sentence a
person woken at night can act on. `ModelError` says in `retryable` whether the same request
may succeed later; a `ToolError` is not a crash but an answer the model can act on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aof_nb.messages import Message, Usage


class AofError(Exception):
    """Base of all errors raised by aof_nb.

    Args:
        message: What happened, naming the place.
        remedy: What to do about it; empty where nothing can be done.

    Example:
        >>> str(AofError("no agent 'sre'", remedy="define it with %%aof_agent sre"))
        "no agent 'sre'"
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ConfigurationError(AofError):
    """The user's declaration cannot work as it stands."""


class MissingCredential(ConfigurationError):
    """A provider's key is not set; raised before any request is sent.

    Args:
        provider: The provider's name.
        variable: The environment variable that would hold the key.
    """

    def __init__(self, provider: str, variable: str) -> None:
        super().__init__(
            f"no API key for {provider}: the environment variable {variable} is not set",
            remedy=f"set {variable}, pass api_key=..., or use a script: model, which needs no key",
        )
        self.provider = provider
        self.variable = variable


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed.

    Args:
        feature: What needs it, as the subject of the sentence.
        extra: The extra of aof-nb that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed",
            remedy=f'pip install "aof-nb[{extra}]"',
        )
        self.extra = extra


class ResourceError(ConfigurationError):
    """A YAML resource or a notebook is wrong; says where and what would be right.

    Args:
        message: What is wrong.
        file: The file's path, or a name for text that has none.
        line: The line, counted from 1; None if it is unknown.
        field: The field's path, such as ``spec.tools[2].name``.
        remedy: What would be right.
        others: What else is wrong with it; the message says how many these are.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int | None = None,
        field: str = "",
        remedy: str = "",
        others: Sequence[ResourceError] = (),
    ) -> None:
        place = f"{file}:{line}" if file and line is not None else file
        self.alone = ": ".join(p for p in (place, field, message) if p)
        many = len(others)
        more = f" (and {many} more problem{'s' * (many > 1)})" if many else ""
        super().__init__(self.alone + more, remedy=remedy)
        self.others = tuple(others)
        self.detail = message
        self.file = file
        self.line = line
        self.field = field


class ModelError(AofError):
    """A model request failed.

    Args:
        message: What the provider said, or what happened to the connection.
        provider: The provider's name.
        status: The HTTP status, if there was one.
        request_id: The provider's id of the request, for its support.
        retry_after: Seconds the provider asks to wait.
        remedy: What to do about it.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after
        self.partial: Message | None = None
        self.partial_usage: Usage | None = None


class RateLimited(ModelError):
    """Too many requests or tokens in a window."""

    retryable = True


class Overloaded(ModelError):
    """The provider has no capacity at the moment."""

    retryable = True


class ServerError(ModelError):
    """The provider failed on its side."""

    retryable = True


class ConnectionFailed(ModelError):
    """The provider could not be reached."""

    retryable = True


class ModelTimeout(ModelError):
    """The provider did not answer in time."""

    retryable = True


class BrokenStream(ModelError):
    """The response stream ended before the response did.

    `partial` holds the message as far as it had arrived; `partial_usage` the usage known so far.
    """

    retryable = True


class CircuitOpen(ModelError):
    """A model has failed so often in a row that it is left alone for a while.

    Args:
        model: The model's full name.
        reason: Its last failure.
        wait: Seconds until it may be tried again.
    """

    retryable = True

    def __init__(self, model: str, reason: str, wait: float) -> None:
        super().__init__(
            f"{model} keeps failing ({reason}) and is left alone for {max(1, round(wait))} s",
            provider=model.partition(":")[0],
            retry_after=wait,
            remedy="wait, or name another model, such as one in fallback",
        )
        self.reason = reason


class AllModelsFailed(ModelError):
    """No model of an agent's chain could answer.

    Args:
        failures: Each model's full name and its error, in the order asked.
    """

    def __init__(self, failures: list[tuple[str, AofError]]) -> None:
        told = "; ".join(f"{model}: {error.message}" for model, error in failures)
        super().__init__(
            f"none of {len(failures)} models answered: {told}",
            remedy="; ".join(dict.fromkeys(error.remedy for _, error in failures if error.remedy)),
        )
        self.failures = failures


class AuthenticationFailed(ModelError):
    """The key is wrong, expired or of another organisation."""


class PermissionDenied(ModelError):
    """The key is right but may not use this model or feature."""


class ModelNotFound(ModelError):
    """The provider does not know this model or endpoint."""


class BadRequest(ModelError):
    """The provider rejects the request as it is."""


class ContextTooLong(ModelError):
    """The request is larger than the model's context window."""


class ContentRefused(ModelError):
    """The provider's content filter refused the request or the response."""


class QuotaExceeded(ModelError):
    """The account's credit or spending limit is used up."""


class InvalidOutput(AofError):
    """The answer does not fit the output schema, and was not corrected.

    Args:
        message: What it is about.
        violation: What is wrong with the answer, by place.
        text: The answer as it came.
        remedy: What to do about it.
    """

    def __init__(self, message: str, *, violation: str, text: str, remedy: str = "") -> None:
        super().__init__(f"{message}: {violation}", remedy=remedy)
        self.violation = violation
        self.text = text


class ToolError(AofError):
    """A tool could not do what it was asked; the model is shown the message.

    Raise it in a tool to tell the model what went wrong and what would work. Any other
    exception is shown to the model too, with its type.

    Example:
        >>> raise ToolError("no service 'chekout'; there are: checkout, payments")
        Traceback (most recent call last):
        ...
        aof_nb.errors.ToolError: no service 'chekout'; there are: checkout, payments
    """


class OutcomeUnknown(ToolError):
    """A tool call was started and nobody can tell whether it took effect."""


class McpError(AofError):
    """An MCP server could not be started, reached or spoken to."""


class MemoryStoreError(AofError):
    """A memory store cannot be read or written."""


class MemoryConflict(MemoryStoreError):
    """What was to be changed has been changed by somebody else meanwhile; nothing was written.

    Args:
        what: What it is, as the subject of the sentence, such as ``session 'inc-42'``.
        expected: The version that was expected.
        found: The version there is.
    """

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"{what} is at version {found or 'none'}, not {expected or 'none'}",
            remedy="load it again, and try once more with its new version",
        )
        self.expected = expected
        self.found = found


class JournalError(AofError):
    """A run's journal cannot be written or read."""


class ReplayMismatch(ModelError):
    """A request is not the one that was recorded, or there is no record of it.

    Args:
        message: What differs.
        difference: The recorded request and this one, as a unified diff; empty if there is no
            record to compare with.
        remedy: What to do about it.
    """

    def __init__(self, message: str, *, difference: str = "", remedy: str = "") -> None:
        told = f"{message}\n{difference}" if difference else message
        super().__init__(told, provider="replay", remedy=remedy)
        self.difference = difference


class ApprovalPending(AofError):
    """A call needs an approval that nobody here can give: its run waits for one."""
