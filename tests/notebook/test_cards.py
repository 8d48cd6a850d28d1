"""The question whether a call may be made, as the live view shows it."""

from __future__ import annotations

import re
import time

from aof_nb.events import ApprovalAnswered
from aof_nb.notebook.cards import Card
from aof_nb.policy import ApprovalRequest
from aof_nb.ports import Effect, ToolSpec


def a_card(*, left: float | None = None, preview: str = "") -> Card:
    tool = ToolSpec(name="restart", description="", input_schema={}, effect=Effect.DESTRUCTIVE)
    expires = None if left is None else time.time() + left
    request = ApprovalRequest(
        run_id="r",
        call_id="c",
        tool=tool,
        arguments={},
        reason="because",
        expires=expires,
        preview=preview,
    )
    return Card(request)


def test_a_change_is_shown_as_it_is_and_not_obeyed() -> None:
    card = a_card(preview="--- a\n+++ a\n@@ -1 +1 @@\n-<b>old\n+<img src=x>\u202e")
    shown = card.html()
    assert "<span class=aof-removed>-&lt;b&gt;old</span>" in shown
    assert "<span class=aof-added>+&lt;img src=x&gt;" in shown
    assert "\u202e" not in shown
    assert "<summary>Arguments</summary>" in shown


def test_the_time_to_answer_is_in_words_and_its_countdown_is_not_read_out() -> None:
    shown = a_card(left=90).html()
    assert "Without an answer within 1 min 30 s, it is denied." in shown
    assert re.search(r"<div class=aof-left aria-hidden=true data-left=90></div>", shown)
    assert "data-left" not in a_card().html()
    assert "it is denied" not in a_card().html()


def test_a_question_that_nobody_answered_in_time_says_so() -> None:
    card = a_card(left=1)
    why = "nobody answered within 1.0 s"
    card.answered = ApprovalAnswered("c", "d", False, False, "", "timeout", reason=why)
    for shown in (card.html(), card.markdown(), card.text()):
        assert "Denied" in shown
        assert why in shown
        assert "<button" not in shown
