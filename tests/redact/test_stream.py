"""Text that comes in pieces is redacted as if it had come at once, wherever it is cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.redact import RedactionPolicy, Redactor
from aof_nb.redact.encodings import ENCODINGS, encoded
from tests.redact.corpus import harmless, secrets

PROSE = (
    "The checkout service shows elevated latency since 12:41; three of five pods were restarted "
    "(OOMKilled). I will look at the logs of payments next, and then at the database: the orders "
    "table is locked by a long report. A restart would not help, as the lock is held elsewhere.\n\n"
    "1. Ask who runs the report, which began at 12:40.\n2. Cancel it if nobody needs it.\n"
) * 5
KNOWN = {
    "DEPLOY_TOKEN": "c0rrect-h0rse/battery+staple",
    "PHRASE": "purple monkey dishwasher 7",
    "KEYFILE": "-----BEGIN PRIVATE KEY-----\nMIIabcDEF0123456789abcd\n-----END PRIVATE KEY-----",
    "ODD": "q\"u\\o'te d%é",
}


def streamed(redactor: Redactor, pieces: Iterable[str]) -> str:
    stream = redactor.stream()
    return "".join([*map(stream.feed, pieces), stream.flush()])


def cut(text: str, places: Sequence[int]) -> list[str]:
    edges = [0, *sorted(set(places)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("size", [1, 3, 17])
def test_the_corpus_in_pieces(size: int) -> None:
    texts = {each.text for each in secrets()} | {each.text for each in harmless()}
    # Each character of long ones would be much of the same.
    for text in sorted(texts)[:: 1 if size > 1 else 3]:
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert streamed(Redactor(), pieces) == Redactor().text(text)


def test_the_corpus_cut_in_two_everywhere() -> None:
    for each in secrets()[::31]:
        whole = Redactor().text(each.text)
        for place in range(1, min(len(each.text), 120)):
            assert streamed(Redactor(), cut(each.text, [place])) == whole, each.kind


@pytest.mark.parametrize("encoding", ["", *ENCODINGS])
@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("around", ["say {}.", "x={}&y", '"{}"', "glued{}glued", "{}"])
def test_a_known_secret_cut_anywhere(name: str, encoding: str, around: str) -> None:
    shown = encoded(KNOWN[name], encoding)
    assert shown is not None
    text = around.format(shown)
    if "glued" in around and encoding.startswith("base64"):
        pytest.skip("within one Base64 text it is another one")
    whole = Redactor(KNOWN).text(text)
    assert shown not in whole
    assert "[secret:" in whole
    # Of one that is glued to a word, two characters may have left before it is known.
    early = [shown[:size] for size in ((0, 1, 2) if "glued" in around else (0,))]
    allowed = {whole.replace("[secret:", f"{part}[secret:", 1) for part in early}
    for place in range(1, len(text)):
        assert streamed(Redactor(KNOWN), cut(text, [place])) in allowed
    assert streamed(Redactor(KNOWN), text) in allowed


@given(st.data())
def test_known_secrets_in_any_text_cut_anywhere(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(KNOWN)), max_size=3))
    between = st.text(st.sampled_from("ab c:=\"'\n\\.-_[]{}%é0FN"), max_size=12)
    text = data.draw(between)
    for name in names:
        text += " " + KNOWN[name] + " " + data.draw(between)
    places = data.draw(st.lists(st.integers(1, max(1, len(text) - 1)), max_size=10))
    shown = streamed(Redactor(KNOWN), cut(text, places))
    assert shown == Redactor(KNOWN).text(text)
    assert not [name for name in names if KNOWN[name] in shown]


@given(st.text(st.sampled_from("ghp_sk-eyJ.:/=@\"' \nabc1AKIA"), max_size=60), st.data())
def test_anything_is_the_same_in_pieces(text: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, max(1, len(text) - 1)), max_size=10))
    assert streamed(Redactor(), cut(text, places)) == Redactor().text(text)


@given(st.text(max_size=80), st.data())
def test_any_characters_are_the_same_in_pieces(text: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(1, max(1, len(text) - 1)), max_size=10))
    assert streamed(Redactor(KNOWN), cut(text, places)) == Redactor(KNOWN).text(text)


@pytest.mark.parametrize("known", [{}, KNOWN])
def test_prose_passes_at_once_and_unchanged(known: dict[str, str]) -> None:
    words = PROSE.replace(" ", " \0").split("\0")
    stream = Redactor(known).stream()
    passed = [stream.feed(word) is word for word in words]
    assert sum(passed) > 0.95 * len(words)
    assert stream.flush() == ""


def test_prose_is_never_more_than_a_word_behind() -> None:
    stream = Redactor(KNOWN).stream()
    left = 0
    for come, character in enumerate(PROSE, 1):
        left += len(stream.feed(character))
        assert come - left <= 12
    assert left + len(stream.flush()) == len(PROSE)


def test_a_word_that_may_become_an_assignment_does_not_hold_the_prose_back() -> None:
    stream = Redactor().stream()
    assert stream.feed("The token ") == "The token "
    assert stream.feed("is ") == "is "
    assert stream.feed("old; the password ") == "old; the password "
    assert stream.feed("was ") == "was "


def test_what_is_void_is_forgotten() -> None:
    stream = Redactor(KNOWN).stream()
    assert stream.feed("the key is c0rrect-") == "the key is "
    stream.reset()
    assert stream.feed("anew") + stream.flush() == "anew"


def test_what_is_held_at_the_end_leaves_with_it() -> None:
    stream = Redactor(KNOWN).stream()
    assert stream.feed("it ends in c0rrect") == "it ends in "
    assert stream.flush() == "c0rrect"
    assert stream.flush() == ""


def test_a_manifest_is_held_only_until_it_is_known_to_be_none_of_a_secret() -> None:
    stream = Redactor().stream()
    assert stream.feed("```yaml\napiVersion: apps/v1\n") == "```yaml\n"
    shown = stream.feed("kind: Deployment\nmetadata:\n")
    assert shown.endswith("kind: Deployment\nmetadata:\n")
    assert stream.feed("  name: checkout\n") == "  name: checkout\n"


def test_a_user_s_patterns_are_found_in_pieces() -> None:
    policy = RedactionPolicy(patterns={"ticket": r"TCK-[0-9a-f]{12}"})
    text = "see TCK-0123456789ab for more"
    for place in range(1, len(text)):
        shown = streamed(Redactor(policy=policy), cut(text, [place]))
        assert shown == "see [secret:ticket-1] for more"


def test_long_text_that_looks_like_the_beginning_of_a_secret_is_let_go() -> None:
    stream = Redactor().stream()
    chunks = ["-----BEGIN PRIVATE KEY-----\n", *["no key at all, but a story\n"] * 10_000]
    left = sum(len(stream.feed(chunk)) for chunk in chunks)
    assert left > 0.5 * sum(map(len, chunks))


def test_random_cuts_of_a_long_mixed_text() -> None:
    maker = random.Random(7)
    found = secrets()
    for _ in range(20):
        parts = [each.text for each in maker.sample(found, 3)]
        text = "\n\nand then\n\n".join([PROSE[:200], *parts, PROSE[200:300]])
        places = [maker.randrange(1, len(text)) for _ in range(30)]
        shown = streamed(Redactor(), cut(text, places))
        assert shown == Redactor().text(text)
