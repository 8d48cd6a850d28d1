"""Values in words."""

from __future__ import annotations

import pytest

from aof_nb.readable import counted, printable, readable, seconds, unstyled


def test_arguments_read_as_what_they_are() -> None:
    assert readable(["kubectl", "get", "pods"]) == "kubectl get pods"
    assert readable({"a": 1}) == '{\n  "a": 1\n}'
    assert readable("two\nlines") == "two\nlines"
    assert readable([]) == "[]"
    assert printable("tab\there") == "tab\\there"


def test_what_would_steer_a_terminal_is_shown() -> None:
    assert printable("\x1b[2Jgone\u202etxt") == "\\x1b[2Jgone\\u202etxt"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (0, "0 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (172_799, "47 h 59 min"),
        (259_200, "3 d 0 h"),
    ],
)
def test_durations_never_read_as_sixty_of_anything(given: float, words: str) -> None:
    assert seconds(given) == words


def test_one_and_many() -> None:
    assert (counted(1, "turn"), counted(1200, "turn")) == ("1 turn", "1,200 turns")


def test_a_programs_output_is_read_without_what_only_a_terminal_obeys() -> None:
    printed = "\x1b[1;31mERROR\x1b[0m full\r\nnext\r\n 10%\r100%\x1b[K\n"
    assert unstyled(printed) == "ERROR full\nnext\n 10%\n100%\n"
    assert unstyled("\x1b]8;;http://a\x07b") == "\x1b]8;;http://a\x07b"
