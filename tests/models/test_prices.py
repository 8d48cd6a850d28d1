"""What tokens cost, and what is said where nobody knows."""

from __future__ import annotations

import pytest

from aof_nb.messages import Usage
from aof_nb.models.prices import cost, price

MILLION = 1_000_000


def test_a_known_model_has_a_price() -> None:
    assert price("openai:gpt-5", Usage(MILLION, MILLION)) == pytest.approx(1.25 + 10)
    assert price("openai-chat:gpt-5", Usage(MILLION)) == pytest.approx(1.25)
    assert price("bedrock:us.amazon.nova-pro-v1:0", Usage(MILLION)) == pytest.approx(0.8)
    assert price("openai:gpt-5", Usage()) == 0


def test_cached_tokens_are_not_charged_twice() -> None:
    model = "anthropic:claude-sonnet-4-5"
    plain = price(model, Usage(100_000))
    read = price(model, Usage(100_000, cache_read_tokens=100_000))
    written = price(model, Usage(100_000, cache_write_tokens=100_000))
    assert plain == pytest.approx(0.3)
    assert read == pytest.approx(0.03)
    assert written == pytest.approx(0.375)


@pytest.mark.parametrize("model", ["custom:x", "x", "", "openai:", "fake:gpt-5", "openai:no-such"])
def test_an_unknown_model_has_none(model: str) -> None:
    assert price(model, Usage(1)) is None


@pytest.mark.parametrize("usage", [Usage(1, cache_read_tokens=5), Usage(-1)])
def test_a_count_that_cannot_be_has_no_price(usage: Usage) -> None:
    assert price("openai:gpt-5", usage) is None


def test_a_script_costs_nothing() -> None:
    assert price("script:triage.yaml (scripted)", Usage(MILLION)) == 0


@pytest.mark.parametrize("model", ["ollama:qwen3:8b", "vllm:any", "lmstudio:any"])
def test_a_model_of_ones_own_costs_nothing(model: str) -> None:
    assert price(model, Usage(MILLION)) == 0


@pytest.mark.parametrize(
    "model",
    [
        "groq:llama-3.3-70b-versatile",
        "azure:gpt-4o",
        "google:gemini-2.5-pro",
        "openrouter:openai/gpt-4o",
        "bedrock:anthropic.claude-sonnet-4-5-20250929-v1:0",
        "mistral:mistral-large-latest",
        "deepseek:deepseek-chat",
        "xai:grok-4",
        "together:meta-llama/Llama-3.3-70B-Instruct-Turbo",
    ],
)
def test_each_provider_is_found_in_the_list(model: str) -> None:
    found = price(model, Usage(1000, 1000))
    assert found is not None
    assert found > 0


def test_a_run_costs_what_its_models_cost() -> None:
    known = {"openai:gpt-5": Usage(MILLION), "script:x (scripted)": Usage(MILLION)}
    assert cost(known) == pytest.approx(1.25)
    assert cost(known | {"custom:x": Usage(1)}) is None
    assert cost({}) == 0
