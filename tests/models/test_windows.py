"""The table of context windows agrees with the maintained price list, and never exceeds it."""

from __future__ import annotations

import msgspec
import pytest

from aof_nb.errors import ContextTooLong
from aof_nb.models.failures import from_response
from aof_nb.models.registry import providers
from aof_nb.models.windows import StatedSizes, stated_sizes, window_of

LISTED_AS = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "google",
    "mistral": "mistral",
    "groq": "groq",
    "x-ai": "xai",
    "deepseek": "deepseek",
    "aws": "bedrock",
}
NOT_FOR_CHAT = ("embed", "ocr", "realtime", "transcribe", "audio")


def test_no_window_is_larger_than_listed() -> None:
    from genai_prices.data import providers as listed

    known = [
        (f"{LISTED_AS[provider.id]}:{model.id}", model.context_window)
        for provider in listed
        if provider.id in LISTED_AS
        for model in provider.models
        if model.context_window and not any(word in model.id for word in NOT_FOR_CHAT)
    ]
    assert len(known) > 150
    assert [(name, size) for name, size in known if (window_of(name) or 0) > size] == []
    makers = ("anthropic:", "google:", "xai:")
    covered = [window_of(name) for name, _ in known if name.startswith(makers)]
    assert None not in covered


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("anthropic:claude-sonnet-5", 1_000_000),
        ("anthropic:claude-opus-4-7", 1_000_000),
        ("anthropic:claude-haiku-4-5-20251001", 200_000),
        ("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("openrouter:anthropic/claude-sonnet-4.6", 1_000_000),
        ("openai:gpt-5", 272_000),
        ("openai:gpt-5.1", 272_000),
        ("openai:gpt-5-mini", 272_000),
        ("openai:gpt-5.4-nano", 272_000),
        ("openai:gpt-5-chat-latest", 128_000),
        ("openai:gpt-5.3-codex", 272_000),
        ("openai:gpt-5.4", 872_000),
        ("openai:o3", 200_000),
        ("azure:my-gpt-4o-deployment", 128_000),
        ("google:gemini-3-flash-preview", 1_000_000),
        ("groq:llama-3.3-70b-versatile", 128_000),
        ("mistral:mistral-large-latest", 128_000),
        ("together:Qwen/Qwen3-235B-A22B-Instruct-2507-tput", 128_000),
        ("ollama:qwen3", 4096),
        ("ollama:gpt-oss:120b-cloud", 128_000),
        ("vllm:Qwen/Qwen3-32B", None),
        ("lmstudio:qwen3-8b", None),
        ("script:triage.yaml (scripted)", None),
        ("azure:prod", None),
    ],
)
def test_windows_by_name(name: str, window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_CONTEXT_LENGTH", raising=False)
    assert window_of(name) == window


@pytest.mark.parametrize(
    ("value", "window"), [("32768", 32_768), ("", 4096), ("0", 4096), ("many", 4096)]
)
def test_ollamas_window_is_what_it_was_started_with(
    value: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_CONTEXT_LENGTH", value)
    assert window_of("ollama:qwen3") == window


def test_the_users_word_counts() -> None:
    assert window_of("anthropic:claude-sonnet-5", 50_000) == 50_000
    given = {"ollama": 16_384, "anthropic:claude-sonnet-5": 60_000}
    assert window_of("ollama:qwen3", given) == 16_384
    assert window_of("anthropic:claude-sonnet-5", given) == 60_000
    assert window_of("anthropic:claude-opus-5", given) == 1_000_000


def test_every_providers_example_has_a_window_unless_its_server_decides() -> None:
    without = {
        provider.name for provider in providers().values() if window_of(provider.example) is None
    }
    assert {"script", "vllm", "lmstudio"} <= without
    assert without & {"anthropic", "openai", "bedrock", "google", "groq", "mistral", "xai"} == set()


def anthropic(message: str) -> bytes:
    error = {"type": "invalid_request_error", "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": "req_011CV"})


def openai(message: str, code: str | None = "context_length_exceeded") -> bytes:
    kind = "invalid_request_error"
    error = {"message": message, "type": kind, "param": "messages", "code": code}
    return msgspec.json.encode({"error": error})


def vllm(message: str) -> bytes:
    return msgspec.json.encode(
        {"object": "error", "message": message, "type": "BadRequestError", "code": 400}
    )


def gemini(message: str) -> bytes:
    return msgspec.json.encode(
        [{"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}]
    )


def llama_cpp(message: str) -> bytes:
    kind = "exceed_context_size_error"
    return msgspec.json.encode({"error": {"code": 400, "message": message, "type": kind}})


REFUSALS: dict[str, tuple[bytes, StatedSizes | None]] = {
    "anthropics/claude-code#12186": (
        anthropic("prompt is too long: 208310 tokens > 200000 maximum"),
        StatedSizes(208_310, 200_000),
    ),
    "docker/docker-agent#569": (
        anthropic(
            "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease "
            "input length or `max_tokens` and try again"
        ),
        StatedSizes(178_959, 200_000, 64_000),
    ),
    "xtekky/gpt4free#137": (
        openai(
            "This model's maximum context length is 4097 tokens. However, your messages resulted "
            "in 4301 tokens. Please reduce the length of the messages."
        ),
        StatedSizes(4301, 4097),
    ),
    "cline/cline#5474": (
        openai(
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
            "289650 tokens. Please reduce the length of the messages."
        ),
        StatedSizes(289_650, 272_000),
    ),
    "dyad-sh/dyad#1672": (
        openai(
            "Your input exceeds the context window of this model. Please adjust your input and try "
            "again."
        ),
        None,
    ),
    "evalstate/fast-agent#621": (
        openai(
            "This model's maximum context length is 131072 tokens. However, you requested 131134 "
            "tokens (122942 in the messages, 8192 in the completion). Please reduce the length of "
            "the messages or completion.",
            "invalid_request_error",
        ),
        StatedSizes(122_942, 131_072, 8192),
    ),
    "refly-ai/refly#1177": (
        openai(
            "This endpoint's maximum context length is 32768 tokens. However, you requested about "
            "42832 tokens (42832 of text input). Please reduce the length of either one, or use "
            'the "middle-out" transform to compress your prompt automatically.',
            None,
        ),
        StatedSizes(42_832, 32_768),
    ),
    "vllm-project/vllm#20409": (
        vllm(
            "This model's maximum context length is 16384 tokens. However, you requested 122946 "
            "tokens (112946 in the messages, 10000 in the completion). Please reduce the length "
            "of the messages or completion. None"
        ),
        StatedSizes(112_946, 16_384, 10_000),
    ),
    "google-gemini/gemini-cli#6678": (
        gemini(
            "The input token count (1200293) exceeds the maximum number of tokens allowed "
            "(1048576)."
        ),
        StatedSizes(1_200_293, 1_048_576),
    ),
    "thepersonalaicompany/amurex-backend#51": (
        openai("Please reduce the length of the messages or completion."),
        None,
    ),
    "oobabooga/textgen#7257": (
        llama_cpp(
            "the request exceeds the available context size. try increasing the context size or "
            "enable context shift"
        ),
        None,
    ),
    "langchain-ai/openwiki#648": (
        llama_cpp(
            "request (131168 tokens) exceeds the available context size (131072 tokens), try "
            "increasing it"
        ),
        StatedSizes(131_168, 131_072),
    ),
}


@pytest.mark.parametrize("report", REFUSALS)
def test_refusals_as_users_report_them(report: str) -> None:
    body, stated = REFUSALS[report]
    error = from_response("x", 400, {}, body)
    assert type(error) is ContextTooLong
    assert stated_sizes(error.message) == stated
