"""What a user may declare of a server."""

from __future__ import annotations

import pytest

from aof_nb import McpServer
from aof_nb.errors import ConfigurationError
from aof_nb.mcp.elicitation import Question, as_callback


@pytest.mark.parametrize(
    ("declared", "transport"),
    [
        ({"command": "x"}, "stdio"),
        ({"url": "http://localhost/mcp"}, "http"),
        ({"url": "http://localhost/sse", "transport": "sse"}, "sse"),
    ],
)
def test_the_transport_follows_from_the_rest(declared: dict[str, str], transport: str) -> None:
    assert McpServer(name="a", **declared).transport == transport  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"command": "x", "url": "http://localhost"},
        {"command": "x", "transport": "http"},
        {"url": "http://localhost", "transport": "stdio"},
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(declared: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="MCP server 'a'") as caught:
        McpServer(name="a", **declared)  # type: ignore[arg-type]
    assert caught.value.remedy


def test_lists_become_tuples_and_equal_specs_are_equal() -> None:
    first = McpServer(name="a", command="x", args=["1"], env={"A": "b"})  # type: ignore[arg-type]
    assert first.args == ("1",)
    assert first == McpServer(name="a", command="x", args=("1",), env={"A": "b"})


async def test_a_page_to_visit_is_accepted_without_content() -> None:
    from mcp_types import ElicitRequestURLParams

    asked = []

    async def visit(question: Question) -> dict[str, object]:
        asked.append(question)
        return {}

    params = ElicitRequestURLParams(message="Log in", url="https://a.test/x", elicitation_id="1")
    result = await as_callback("a", visit)(None, params)
    assert (result.action, result.content) == ("accept", None)
    assert asked == [Question(server="a", message="Log in", url="https://a.test/x")]
