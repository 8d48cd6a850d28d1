"""What changes from run to run is taken out of outputs; what says something is not."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from nbval.plugin import get_sanitize_patterns

from aof_nb.errors import ConfigurationError
from aof_nb.run import new_run_id
from aof_nb.runbooks.sanitizers import FILE, read_sanitizers, sanitizer, sanitizers

VOLATILE = {
    "3 turns · 0 tokens · $0.0123 · 1.4 s": "3 turns · 0 tokens · COST · DURATION",
    "✓ tail name=checkout.log (3 ms)": "✓ tail name=checkout.log (DURATION)",
    "took 3 min 20 s, 1e-05 s and 12 µs": "took DURATION, DURATION and DURATION",
    "2026-11-23T23:55:19Z INFO": "DATE INFO",
    "at 2026-11-23 23:55:19,123 it": "at DATE it",
    "2026-11-23 01:02:03 CET: yes": "DATE: yes",
    "Mon, 23 Nov 2026 23:55:19 GMT": "DATE",
    "Mon Nov  3 23:55:19 2026": "DATE",
    "[23:55:19.5] up": "[TIME] up",
    '"created": 1795478122.3360507': '"created": TIME',
    "http://127.0.0.1:43211/x on [::1]:8080": "http://127.0.0.1:PORT/x on [::1]:PORT",
    "&quot;port&quot;: 39643, 'pid': 12": "&quot;port&quot;: PORT, 'pid': PID",
    "<Agent at 0x7f12ab34cd56>": "<Agent at ADDRESS>",
    "id 123e4567-e89b-12d3-a456-426614174000": "id UUID",
    "'/tmp/tour-x1/logs.yaml'": "'TEMPORARY'",
    "/private/var/folders/ab/c1/T/x.txt": "TEMPORARY",
    "in /tmp/ipykernel_4711/12.py": "in TEMPORARY",
    "<ipython-input-5-0a1b2c3d>": "CELL",
}


@pytest.mark.parametrize("text", VOLATILE)
def test_what_changes(text: str) -> None:
    assert sanitizers().applied(text) == VOLATILE[text]


@pytest.mark.parametrize(
    "text",
    [
        "healthy: 0 of 10 orders failed, 16 with 201",
        "version 1.2.3, 3 services, 5 sheep, p95",
        "margin:4px 0 8px 0;max-height:22em;font-size:12px",
        "/home/tmp/x and data/tmp/y",
        "0x1f, status 502, 3 of 4",
        "-2,3 +2,3 @@ retries: 2",
        "costs $40 a day",
        "12345678-99",
    ],
)
def test_what_says_something(text: str) -> None:
    assert sanitizers().applied(text) == text


def test_ids_and_directories_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sanitizers().applied(f"run {new_run_id()}") == "run RUN-ID"
    assert sanitizers().applied(f"{tempfile.gettempdir()}/a/b.c;") == "TEMPORARY;"


def test_nbval_reads_the_same_file() -> None:
    ours = [(each.pattern.pattern, each.replacement) for each in read_sanitizers(FILE)]
    assert [*map(tuple, get_sanitize_patterns(FILE.read_text()))] == ours
    assert len(ours) == FILE.read_text().count("\n[")
    assert FILE.read_text().isascii()


def test_a_files_own_and_a_notebooks_own_come_first(tmp_path: Path) -> None:
    file = tmp_path / "sanitize.cfg"
    file.write_text(
        "[a]\nregex: took (\\d) ms\nreplace: took \\1 beats\n\n[b]\nregex: x+\nreplace: y\n"
    )
    own = [sanitizer("ticket [0-9]+", "xx")]
    assert sanitizers(own, file=file).applied("ticket 7 took 3 ms") == "y took 3 beats"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("regex: a\nreplace: b\nregex: c\n", "no effect: regex: c"),
        ("regex: a\n\nreplace: b\n", "no effect: regex: a"),
        ("regex:a\nreplace:b\n", "no effect: regex:a"),
        ("regex: (\nreplace: b\n", r"'\('.*unterminated"),
        ("regex: a\nreplace: \\1\n", "invalid group reference"),
    ],
)
def test_a_file_that_is_wrong(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "sanitize.cfg"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        sanitizers(file=file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        sanitizers(file=tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        sanitizers(file=tmp_path / "binary")
