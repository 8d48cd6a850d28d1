"""The files AOF publishes: its agents load, or fail for the reasons listed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from aof_nb import Agent
from aof_nb.resources import check, load_all
from aof_nb.resources.documents import LATER
from aof_nb.yaml_text import parse_documents

EXAMPLES = Path(__file__).parents[3] / "shared" / "aof-examples"

pytestmark = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="AOF's published examples are not beside the repository"
)

WRONG = {
    "examples/flows/planned/cost-optimization-flow.yaml": [(204, 'duplicate key "condition"')],
    "examples/triggers/gitlab-mr-review.yaml": [
        (334, "there is no MCP server 'security-tools'"),
    ],
}
"""Files that are wrong in the original: lines, and what is wrong there."""

OF_OTHER_KINDS = tuple(f"kind {kind} is not supported yet" for kind in LATER)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t0ken")


def agents_in(path: Path) -> int | None:
    """The agents of a file; None if it holds something else as well, or is no YAML."""
    if str(path.relative_to(EXAMPLES)) in WRONG:
        return None
    documents = parse_documents(path.read_text(), file=str(path))
    are_agents = [each.get("kind") == "Agent" or "model" in each for each in documents]
    return len(documents) if all(are_agents) else None


def test_every_problem_is_a_listed_one() -> None:
    found: dict[str, list[tuple[int | None, str]]] = {}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for problem in check(path):
            if problem.severity == "error" and problem.message not in OF_OTHER_KINDS:
                name = str(path.relative_to(EXAMPLES))
                found.setdefault(name, []).append((problem.line, problem.message))
    assert found == WRONG


def test_every_file_of_agents_loads() -> None:
    loaded = 0
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        wanted = agents_in(path)
        if wanted is not None:
            agents = load_all(path)
            assert [type(each) for each in agents] == [Agent] * wanted
            loaded += wanted
    assert loaded > 40
