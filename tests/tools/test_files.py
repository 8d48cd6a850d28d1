"""The file tools see all that is below their root, and nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest

from aof_nb.errors import ToolError
from aof_nb.ports import Effect, Tool
from aof_nb.tools.files import file_tools
from tests.tools.calls import call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    (root / "conf.d").mkdir(parents=True)
    (root / "app.log").write_text("one\ntwo error\nthree\n")
    (root / "conf.d" / "app.yaml").write_text("retries: 3  # error\n")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "secret").symlink_to(tmp_path / "outside" / "secret.txt")
    (root / "dangling").symlink_to(tmp_path / "outside" / "new.txt")
    (root / "round").symlink_to(root / "round")
    (root / "latest.log").symlink_to("app.log")
    return root


@pytest.fixture
def tools(root: Path) -> dict[str, Tool]:
    return {each.spec.name: each for each in file_tools(root)}


ESCAPES = [
    "../outside/secret.txt",
    "conf.d/../../outside/secret.txt",
    "out/secret.txt",
    "secret",
    "dangling",
    "round",
    "/etc/passwd",
    "..",
    "../root2/x",
    "a\0b",
    "x" * 5000,
]


@pytest.mark.parametrize("path", ESCAPES)
async def test_nothing_outside_is_read_or_written(
    tools: dict[str, Tool], root: Path, path: str
) -> None:
    (root.parent / "root2").mkdir()
    (root.parent / "root2" / "x").write_text("secret")
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(ToolError):
        await call(tools["read_file"], path=path)
    with pytest.raises(ToolError):
        await call(tools["list_directory"], path=path)
    with pytest.raises(ToolError):
        await call(tools["write_file"], path=path, content="x")
    with pytest.raises(ToolError):
        await call(tools["search_files"], path=path, pattern="secret")
    assert sorted(root.parent.rglob("*")) == before
    assert (root.parent / "outside" / "secret.txt").read_text() == "secret"


@pytest.mark.parametrize("files", ["*", "**/*", "../*", "../outside/*", "out/*", "sec*"])
async def test_a_search_does_not_lead_out(tools: dict[str, Tool], files: str) -> None:
    output = await call(tools["search_files"], pattern="secret", files=files)
    assert output.content == "no match"


async def test_what_is_below_the_root_is_read(tools: dict[str, Tool], root: Path) -> None:
    read = tools["read_file"]
    for path in ("app.log", "./conf.d/../app.log", str(root / "app.log"), "latest.log"):
        assert (await call(read, path=path)).content == "one\ntwo error\nthree\n"


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({"first_line": 2}, "two error\nthree\n"),
        ({"first_line": 2, "lines": 1}, "two error\n"),
        ({"first_line": -1}, "three\n"),
        ({"first_line": -99, "lines": 1}, "one\n"),
        ({"first_line": 0, "lines": 1}, "one\n"),
        ({"first_line": 9}, "(empty)"),
        ({"lines": 0}, "(empty)"),
    ],
)
async def test_some_lines(tools: dict[str, Tool], options: dict[str, int], content: str) -> None:
    assert (await call(tools["read_file"], path="app.log", **options)).content == content


async def test_what_cannot_be_read_as_text(tools: dict[str, Tool], root: Path) -> None:
    (root / "image").write_bytes(b"\x89PNG\0")
    (root / "huge").touch()
    os.truncate(root / "huge", 5_000_001)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(root)
        try:
            listening.bind("sock")
        finally:
            os.chdir(here)
        for path, said in [
            ("image", "is binary"),
            ("huge", "5,000,001 bytes"),
            ("pipe", "is not a file"),
            ("sock", "is not a file"),
            ("conf.d", "is not a file"),
            ("none", "No 'none'"),
            ("app.log/x", "No 'app.log/x'"),
        ]:
            with pytest.raises(ToolError, match=said):
                await call(tools["read_file"], path=path)
    (root / "latin").write_bytes("é".encode("latin-1"))
    assert (await call(tools["read_file"], path="latin")).content == "\ufffd"


async def test_a_directory(tools: dict[str, Tool], root: Path) -> None:
    listing = (await call(tools["list_directory"])).content.splitlines()
    assert listing[0] == "app.log (20 bytes)"
    assert "conf.d/" in listing
    with pytest.raises(ToolError, match="is not a directory"):
        await call(tools["list_directory"], path="app.log")
    (root / "empty").mkdir()
    assert (await call(tools["list_directory"], path="empty")).content == "(empty)"


async def test_a_large_directory_is_cut(tools: dict[str, Tool], root: Path) -> None:
    (root / "many").mkdir()
    for n in range(1003):
        (root / "many" / f"{n:04}").touch()
    listing = (await call(tools["list_directory"], path="many")).content.splitlines()
    assert (len(listing), listing[-1]) == (1001, "[... 3 more]")


async def test_a_search(tools: dict[str, Tool], root: Path) -> None:
    (root / "binary").write_bytes(b"error\0")
    search = tools["search_files"]
    found = await call(search, pattern="err.r")
    assert found.content == "app.log:2: two error\nconf.d/app.yaml:1: retries: 3  # error"
    assert (await call(search, pattern="error", path="conf.d")).content.startswith("conf.d/app")
    assert (await call(search, pattern="error", files="*.log")).content == "app.log:2: two error"
    cut = await call(search, pattern="e", most=1)
    assert cut.content == "app.log:1: one\n[there may be more]"
    (root / "long").write_text("x" * 2000)
    assert len((await call(search, pattern="xx")).content) < 600
    for wrong in ("(", "*"):
        with pytest.raises(ToolError, match="not a regular expression"):
            await call(search, pattern=wrong)
    assert (await call(search, pattern="root", files="/etc/*")).content == "no match"
    only = await call(search, pattern="3", files="conf.d/*", path=".")
    assert only.content == "conf.d/app.yaml:1: retries: 3  # error"
    (root / "lines").write_text("a\x0cb\u2028c\r\nmark\r\n")
    assert (await call(search, pattern="mark$", path="lines")).content == "lines:2: mark"


async def test_a_pattern_that_never_ends_can_be_stopped(
    tools: dict[str, Tool], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "app.log").write_text("a" * 60 + "b")
    searching = asyncio.create_task(call(tools["search_files"], pattern="(a+)+$"))
    await asyncio.sleep(0.3)
    assert not searching.done()
    started = time.monotonic()
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert time.monotonic() - started < 2
    monkeypatch.setattr("aof_nb.tools.files._SEARCH_SECONDS", 0.3)
    with pytest.raises(ToolError, match=r"stopped after 0\.3 s"):
        await call(tools["search_files"], pattern="(a+)+$")


async def test_a_file_is_written_as_a_whole(tools: dict[str, Tool], root: Path) -> None:
    write = tools["write_file"]
    assert (write.spec.effect, write.spec.exclusive) == (Effect.WRITE, True)
    output = await call(write, path="new/deep/a.txt", content="é\n")
    assert output.content == "wrote 3 bytes to new/deep/a.txt"
    assert (root / "new/deep/a.txt").read_bytes() == b"\xc3\xa9\n"
    (root / "app.log").chmod(0o640)
    await call(write, path="app.log", content="")
    assert (root / "app.log").read_text() == ""
    assert (root / "app.log").stat().st_mode & 0o777 == 0o640
    await call(write, path="latest.log", content="through the link")
    assert (root / "latest.log").is_symlink()
    assert (root / "app.log").read_text() == "through the link"


async def test_what_cannot_be_written_leaves_nothing(tools: dict[str, Tool], root: Path) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(ToolError, match="is a directory"):
        await call(tools["write_file"], path="conf.d", content="x")
    with pytest.raises(ToolError, match="cannot be written"):
        await call(tools["write_file"], path="app.log/x", content="x")
    with pytest.raises(ToolError, match="cannot be written as UTF-8"):
        await call(tools["write_file"], path="app.log", content="\udcff")
    assert sorted(root.rglob("*")) == before
    assert (root / "app.log").read_text() == "one\ntwo error\nthree\n"


def test_all_but_writing_are_reads(tools: dict[str, Tool]) -> None:
    assert {name for name, tool in tools.items() if tool.spec.effect is Effect.READ} == {
        "read_file",
        "list_directory",
        "search_files",
    }
