"""Packages may bring providers of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aof_nb import resolve_model
from aof_nb.errors import ConfigurationError
from aof_nb.models import registry

MODULE = """
from aof_nb.models import Provider

class Acme:
    def __init__(self, model, *, base_url=None, api_key=None):
        self.name = f"acme:{model}"

provider = Provider(
    name="acme", factory="acme_models:Acme", title="Acme", key_variable="ACME_KEY", example="acme:m"
)
impostor = Provider(name="openai", factory="acme_models:Acme", title="Acme")
"""
ENTRY_POINTS = """
[aof_nb.providers]
acme = acme_models:provider
openai = acme_models:impostor
broken = acme_models:nothing_of_that_name
wrong = acme_models:Acme
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "acme_models.py").write_text(MODULE)
    information = tmp_path / "acme_models-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-models\nVersion: 1.0\n"
    )
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._plugged_in.cache_clear()
    yield
    registry._plugged_in.cache_clear()
    sys.modules.pop("acme_models", None)


@pytest.mark.usefixtures("package")
def test_a_package_brings_a_provider_and_a_broken_one_costs_only_itself() -> None:
    with pytest.warns(UserWarning, match="cannot be used") as caught:
        known = registry.providers()
    # What others have left open may be collected, and told of, in just this moment.
    told = sorted(str(each.message) for each in caught if each.category is UserWarning)
    assert len(told) == 2
    assert "broken (acme_models:nothing_of_that_name)" in told[0]
    assert "not a Provider" in told[1]
    assert known["acme"].key_variable == "ACME_KEY"
    assert known["openai"].title == "OpenAI (Responses)"
    assert resolve_model("acme:m").name == "acme:m"
    with pytest.raises(ConfigurationError) as wrong:
        resolve_model("acne:m")
    assert "did you mean acme:m?" in wrong.value.remedy


def test_packages_are_not_searched_for_what_is_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(**_: str) -> None:
        raise AssertionError("searched")

    registry._plugged_in.cache_clear()
    monkeypatch.setattr("importlib.metadata.entry_points", search)
    assert resolve_model("openai:gpt-5").name == "openai:gpt-5"
    assert resolve_model("groq:m").name == "groq:m"
