"""What providers need, and whether it is there."""

from __future__ import annotations

import pytest

from aof_nb.models.needs import Need, missing_for, needs_in_words, needs_of
from aof_nb.models.registry import Provider, providers


def provider(**how: object) -> Provider:
    return Provider(**{"name": "p", "factory": "m:f", "title": "P"} | how)


def test_a_key_is_told_to_be_there_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_key = provider(key_variable="P_API_KEY")
    monkeypatch.delenv("P_API_KEY", raising=False)
    assert needs_of(needs_key) == [Need("P_API_KEY is not set", missing=True)]
    monkeypatch.setenv("P_API_KEY", "sesame")
    assert needs_of(needs_key) == [Need("P_API_KEY is set")]


def test_what_is_known_only_when_it_is_used_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    either = provider(key_variable="P_API_KEY", credentials="a token")
    monkeypatch.delenv("P_API_KEY", raising=False)
    assert needs_of(either) == [Need("P_API_KEY is not set, or a token", missing=None)]
    monkeypatch.setenv("P_API_KEY", "sesame")
    assert [each.missing for each in needs_of(either)] == [False]
    monkeypatch.delenv("VLLM_BASE_URL", raising=False)
    assert [each.missing for each in needs_of(providers()["vllm"])] == [False, None]


def test_what_has_to_be_installed_comes_first() -> None:
    bare = provider(extra="p", package="no_such_package", key_variable="P_API_KEY")
    assert needs_in_words(bare).startswith('pip install "aof-nb[p]"; P_API_KEY')
    assert needs_of(bare)[0].missing


def test_what_is_missing_for_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert missing_for("openai:gpt-5") == ["OPENAI_API_KEY is not set"]
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    assert missing_for("openai:gpt-5") == []
    assert missing_for("no-such:model") == []
