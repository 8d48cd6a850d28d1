# ruff: noqa: E501
"""The servers that speak Chat Completions: their paths, keys, refusals and error bodies.

`SEEN` names the error bodies that were found in public issue trackers and manuals, with the server's
own words. The others in `ERRORS` follow the server's known shape without a recording to show for it,
and what a server has no body of its own for is tried with OpenAI's shape (`_COMMON`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes import chat_completions as chat
from tests.fakes import chat_rules
from tests.fakes.http_server import Request
from tests.fakes.providers import Answer, FakeOpenAI
from tests.fakes.reply import Failure, seal
from tests.fakes.rules import InvalidRequestError

Body = tuple[int, Any]


def _openai(message: str, kind: str | None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _google(code: int, status: str, message: str, *details: Any) -> list[Any]:
    error = {"code": code, "message": message, "status": status}
    return [{"error": error | ({"details": list(details)} if details else {})}]


_TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
    "tokens. Please reduce the length of the messages."
)
_COMMON: dict[str, Body] = {
    "bad_request": (400, _openai("'temperature' is out of range", "invalid_request_error")),
    "authentication": (401, _openai("Invalid API Key", "invalid_request_error", "invalid_api_key")),
    "permission": (403, _openai("You may not use this model", "permission_error")),
    "not_found": (
        404,
        _openai("The model `x` does not exist", "invalid_request_error", "model_not_found"),
    ),
    "too_long": (400, _openai(_TOO_LONG, "invalid_request_error", "context_length_exceeded")),
    "rate_limit": (429, _openai("Rate limit reached", "requests", "rate_limit_exceeded")),
    "server_error": (500, _openai("Internal server error", "server_error")),
    "overloaded": (503, _openai("Service Unavailable", "service_unavailable")),
}
_FILTER = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
        "management policy. Please modify your prompt and retry.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
        },
    }
}
ERRORS: dict[str, dict[str, Body]] = {
    "azure": {
        "authentication": (
            401,
            {
                "error": {
                    "code": "401",
                    "message": "Access denied due to invalid subscription key or wrong API endpoint.",
                }
            },
        ),
        "not_found": (
            404,
            {
                "error": {
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist.",
                }
            },
        ),
        "rate_limit": (
            429,
            {
                "error": {
                    "code": "429",
                    "message": "Requests to the ChatCompletions_Create Operation have exceeded call rate limit. Please retry after 20 seconds.",
                }
            },
        ),
        "refused": (400, _FILTER),
    },
    "google": {
        "bad_request": (
            400,
            _google(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
        ),
        "authentication": (
            400,
            _google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        ),
        "permission": (
            403,
            _google(403, "PERMISSION_DENIED", "Your project has been denied access."),
        ),
        "not_found": (
            404,
            _google(404, "NOT_FOUND", "models/x is not found for API version v1main"),
        ),
        "too_long": (
            400,
            _google(
                400,
                "INVALID_ARGUMENT",
                "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            ),
        ),
        "rate_limit": (
            429,
            _google(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details.",
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"},
            ),
        ),
        "server_error": (500, _google(500, "INTERNAL", "An internal error has occurred.")),
        "overloaded": (
            503,
            _google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        ),
    },
    "ollama": {
        "not_found": (404, _openai("model 'x' not found", "not_found_error")),
        "server_error": (
            500,
            _openai("llama runner process has terminated: signal: killed", "api_error"),
        ),
        "overloaded": (
            503,
            _openai(
                "server busy, please try again.  maximum pending requests exceeded", "api_error"
            ),
        ),
        "too_long": (
            400,
            _openai("the input length exceeds the context length", "invalid_request_error"),
        ),
    },
    "groq": {
        "too_long": (
            413,
            _openai(
                "Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit 6000, Requested 9000",
                "tokens",
                "rate_limit_exceeded",
            ),
        ),
        "overloaded": (498, _openai("Flex tier capacity exceeded", "capacity_exceeded")),
    },
    "openrouter": {
        "authentication": (401, {"error": {"message": "No auth credentials found", "code": 401}}),
        "not_found": (404, {"error": {"message": "No endpoints found for x.", "code": 404}}),
        "quota": (
            402,
            {"error": {"message": "Insufficient credits. Add more credits.", "code": 402}},
        ),
        "refused": (
            403,
            {
                "error": {
                    "message": "Your chosen model requires moderation and your input was flagged",
                    "code": 403,
                    "metadata": {"reasons": ["violence"]},
                }
            },
        ),
    },
    "mistral": {
        "bad_request": (
            422,
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "extra_forbidden",
                            "loc": ["body", "x"],
                            "msg": "Extra inputs are not permitted",
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
        "authentication": (401, {"detail": "Unauthorized"}),
        "not_found": (
            400,
            {
                "object": "error",
                "message": "Invalid model: x",
                "type": "invalid_model",
                "param": None,
                "code": "1500",
            },
        ),
        "rate_limit": (
            429,
            {
                "object": "error",
                "message": "Service tier capacity exceeded for this model.",
                "type": "service_tier_capacity_exceeded",
                "param": None,
                "code": "3505",
            },
        ),
    },
    "deepseek": {
        "quota": (402, _openai("Insufficient Balance", "unknown_error", "invalid_request_error")),
        "authentication": (
            401,
            _openai(
                "Authentication Fails (no such user)",
                "authentication_error",
                "invalid_request_error",
            ),
        ),
    },
    "xai": {
        "authentication": (
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Incorrect API key provided: x***y.",
            },
        ),
        "not_found": (
            404,
            {"code": "Some requested entity was not found", "error": "The model x does not exist"},
        ),
        "too_long": (
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
            },
        ),
    },
    "vllm": {
        "bad_request": (
            400,
            {
                "object": "error",
                "message": "top_p must be in (0, 1]",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        "not_found": (404, _openai("The model `x` does not exist.", "NotFoundError", 404)),
        "too_long": (400, _openai(_TOO_LONG, "BadRequestError", 400)),
    },
    "together": {
        "authentication": (
            401,
            _openai(
                "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys.",
                "invalid_request_error",
                "invalid_api_key",
            ),
        )
    },
    "lmstudio": {"bad_request": (400, {"error": "'messages' field is required"})},
}

SEEN = {
    "azure": {"refused"},
    "google": {"rate_limit", "bad_request"},
    "groq": {"too_long"},
    "mistral": {"bad_request"},
    "together": {"authentication"},
    "xai": {"authentication"},
}


@dataclass(frozen=True, slots=True)
class Server:
    """What is particular about a server: where it is, its chunks, and what it refuses."""

    prefix: str
    dialect: chat.Dialect = chat.OPENAI
    forbidden: frozenset[str] = frozenset()
    key_header: str = "authorization"
    errors: Mapping[str, Body] = field(default_factory=dict)


SERVERS = {
    "azure": Server("/openai/deployments/", chat.AZURE, key_header="api-key"),
    "google": Server("/v1beta/openai", chat.GOOGLE),
    "ollama": Server("/v1", chat.OLLAMA),
    "groq": Server(
        "/openai/v1",
        replace(chat.OPENROUTER, filler={}, details=False),
        frozenset(["max_tokens"]),
    ),
    "openrouter": Server(
        "/api/v1", replace(chat.OPENROUTER, comments=b": OPENROUTER PROCESSING\n\n")
    ),
    "mistral": Server("/v1", chat.MISTRAL, frozenset(["stream_options", "max_completion_tokens"])),
    "deepseek": Server("", replace(chat.DEEPSEEK, comments=b": keep-alive\n\n")),
    "xai": Server("/v1", replace(chat.VLLM, hidden_reasoning=True, usage_with_finish=True)),
    "together": Server("/v1", replace(chat.OPENROUTER, filler={}, details=False)),
    "vllm": Server("/v1", chat.VLLM),
    "lmstudio": Server("/v1", chat.VLLM),
}


class FakeCompatible(FakeOpenAI):
    """One of `SERVERS`, with its path, its key's header, its refusals and its errors."""

    def __init__(self, name: str, **options: Any) -> None:
        self.server = SERVERS[name]
        self.errors = _COMMON | ERRORS.get(name, {})
        super().__init__(dialect=self.server.dialect, **options)
        self._name = name

    @property
    def base_url(self) -> str:
        """For the provider's own variable."""
        prefix = "" if self._name == "azure" else self.server.prefix
        return f"http://127.0.0.1:{self.port}{prefix}"

    def failure(self, kind: str) -> Failure:
        """The server's answer to a failure of this kind, as it sends it."""
        status, body = self.errors[kind]
        return Failure(status, body=json.dumps(body).encode())

    def _headers(self, request_id: str, answer: Answer) -> dict[str, str]:
        headers = super()._headers(request_id, answer)
        return {k: v for k, v in headers.items() if not k.startswith(("openai", "x-ratelimit"))}

    def _admit(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        prefix = self.server.prefix
        if self._name == "azure":
            prefix = "/".join(path.split("/")[:4])
        if path != f"{prefix}/chat/completions" or not prefix.startswith(self.server.prefix):
            raise InvalidRequestError(f"no such path: {path}", status=404)
        if self._name == "azure" and "api-version=" not in query:
            raise InvalidRequestError("Missing required query parameter: api-version", status=404)
        if not (
            request.headers.get(self.server.key_header) or request.headers.get("authorization")
        ):
            raise InvalidRequestError("no key", status=401)
        body = request.json
        for name in self.server.forbidden & set(body):
            raise InvalidRequestError(f"{name}: Extra inputs are not permitted", status=422)
        if self._name == "google" and "reasoning_effort" in body and "extra_body" in body:
            raise InvalidRequestError(
                "Expected one of either `reasoning_effort` or custom `thinking_config`; found both."
            )
        chat_rules.check(body, own=False)
        for message in body["messages"]:
            self._check_message(message)

    def _check_message(self, message: Mapping[str, Any]) -> None:
        calls = message.get("tool_calls") or []
        if self._name == "groq" and {"reasoning", "reasoning_content"} & set(message):
            raise InvalidRequestError("property 'reasoning' is unsupported")
        if self._name == "mistral":
            for call_id in [c["id"] for c in calls] + [message.get("tool_call_id", "a" * 9)]:
                if not (len(call_id) == 9 and call_id.isalnum()):
                    raise InvalidRequestError(
                        f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
                    )
        if self._name == "google" and calls:
            extra = calls[0].get("extra_content") or {}
            signature = extra.get("google", {}).get("thought_signature")
            known = seal(calls[0]["function"]["name"]), "skip_thought_signature_validator"
            if signature not in known:
                raise InvalidRequestError(
                    "Function call is missing a thought_signature in functionCall parts."
                )
