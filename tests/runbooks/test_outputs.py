"""Outputs compared with saved ones."""

from __future__ import annotations

from typing import Any

import pytest

from aof_nb.runbooks.outputs import output_difference
from aof_nb.runbooks.sanitizers import sanitizers


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data: Any) -> dict[str, Any]:
    named = {kind.replace("_", "/"): value for kind, value in data.items()}
    return {"output_type": "display_data", "data": named, "metadata": {}}


def difference(saved: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    return output_difference(saved, now, sanitizers())


SAME = {
    "how a stream was cut": ([stream("a\n"), stream("b\n")], [stream("a\nb\n")]),
    "streams that alternate": (
        [stream("a\n"), stream("!", "stderr"), stream("b\n")],
        [stream("a\nb\n"), stream("!", "stderr")],
    ),
    "metadata": (
        [{**shown(text_plain="a"), "metadata": {"aof": {"duration": 1}}}],
        [shown(text_plain="a")],
    ),
    "numbers of executions": (
        [{"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "1"}}],
        [{"output_type": "execute_result", "execution_count": 7, "data": {"text/plain": "1"}}],
    ),
    "images": (
        [shown(text_plain="a", image_png="AAAA")],
        [shown(text_plain="a", image_png="BBBB")],
    ),
    "tracebacks": (
        [{"output_type": "error", "ename": "E", "evalue": "m", "traceback": ["a"]}],
        [{"output_type": "error", "ename": "E", "evalue": "m", "traceback": ["b"]}],
    ),
    "lists of lines": ([shown(text_plain=["a\n", "b"])], [shown(text_plain="a\nb")]),
    "times": ([stream("in 3 ms")], [stream("in 5.1 s")]),
    "the order of keys": (
        [shown(application_json={"a": 1, "b": 2})],
        [shown(application_json={"b": 2, "a": 1})],
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_what_makes_no_difference(what: str) -> None:
    assert difference(*SAME[what]) == ""


OTHER = {
    "text": ([stream("a\nb\n")], [stream("a\nc\n")], ["-b", "+c", "saved output"]),
    "a stream": ([stream("a")], [stream("a", "stderr")], ["-[stdout]", "+[stderr]"]),
    "one less": ([shown(text_plain="a"), shown(text_plain="b")], [shown(text_plain="a")], ["-b"]),
    "one more": ([], [stream("a")], ["+a"]),
    "an error": (
        [stream("a")],
        [{"output_type": "error", "ename": "E", "evalue": "m", "traceback": []}],
        ["+E: m"],
    ),
    "HTML alone": (
        [shown(text_plain="a", text_html="<p>a</p><p>b</p>")],
        [shown(text_plain="a", text_html="<p>a</p><p>c</p>")],
        ["-<p>b</p>", "+<p>c</p>"],
    ),
    "data": (
        [shown(application_json={"a": [1]})],
        [shown(application_json={"a": [2]})],
        ["-  1", "+  2"],
    ),
    "a kind less": (
        [shown(text_plain="a", text_latex="b")],
        [shown(text_plain="a")],
        ["-[text/latex]"],
    ),
    "the end of a line": ([stream("a\n")], [stream("a")], ["the ends of their lines"]),
}


@pytest.mark.parametrize("what", OTHER)
def test_what_is_told(what: str) -> None:
    saved, now, expected = OTHER[what]
    told = difference(saved, now)
    for each in expected:
        assert each in told


def test_plain_text_is_told_rather_than_html() -> None:
    saved = [shown(text_plain="a", text_html="<p>a</p>")]
    told = difference(saved, [shown(text_plain="b", text_html="<p>b</p>")])
    assert "+b" in told.split("\n")
    assert "<p>" not in told
