"""Long text is cut the same way every time, and what is left out is said."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from aof_nb.truncation import truncate

REMARK = re.compile(
    r"\[\.\.\. ([\d,]+) of ([\d,]+) characters left out \(([\d,]+) lines\)(; [^\n]*)? \.\.\.\]\n"
)


@given(st.text("ab\né", max_size=300), st.integers(0, 200))
@example("a" * 50, 0)
@example("\n" * 50, 1)
@example("a" * 10 + "\n" + "a" * 5, 15)
def test_head_and_tail_are_the_texts_own(text: str, limit: int) -> None:
    cut = truncate(text, limit)
    assert cut == truncate(text, limit)
    if len(text) <= limit:
        assert cut == text
        return
    [found] = REMARK.finditer(cut)
    left_out, whole, lines = (int(each.replace(",", "")) for each in found.groups()[:3])
    assert whole == len(text)
    tail = cut[found.end() :]
    assert text.endswith(tail)
    head = text[: whole - left_out - len(tail)]
    joint = "" if not head or head.endswith("\n") else "\n"
    assert cut[: found.start()] == head + joint
    assert lines == text[len(head) : whole - len(tail)].count("\n")
    assert len(head) + len(tail) <= limit


def test_cuts_fall_on_line_ends_where_one_is_near() -> None:
    text = "".join(f"line {n:03}\n" for n in range(100))
    cut = truncate(text, 300, kept_as="c1.txt").splitlines()
    assert cut[0] == "line 000"
    assert cut[-1] == "line 099"
    assert all(re.fullmatch(r"line \d{3}", line) or "left out" in line for line in cut)
    [remark] = [line for line in cut if "left out" in line]
    assert remark.endswith("; whole output kept as c1.txt ...]")


def test_most_goes_to_the_head() -> None:
    head, _, tail = truncate("x" * 10_000, 900).partition("\n[")
    assert (len(head), len(tail.partition("]\n")[2])) == (600, 300)
