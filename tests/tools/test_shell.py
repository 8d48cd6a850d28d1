"""The shell tool runs what it may, as it is written, and nothing outlives its call."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.errors import ToolError
from aof_nb.gate import Gate
from aof_nb.policy import Action, Policy, Rule
from aof_nb.ports import Effect
from aof_nb.tools.shell import ShellTool, split_line
from tests.tools.calls import call

PRINT = "import sys; print(sys.argv[1:])"


@pytest.mark.parametrize("word", ["a b", "$HOME", "*", "`id`", "; id", "'", "", "-n", "é"])
async def test_words_reach_the_program_as_they_are(word: str) -> None:
    output = await call(ShellTool(), argv=[sys.executable, "-c", PRINT, word])
    assert output.content == f"{[word]}\n"
    assert output.data == {"output": f"{[word]}\n", "exit_code": 0}


async def test_a_line_is_split_and_not_expanded() -> None:
    output = await call(ShellTool(), argv=f"{sys.executable} -c '{PRINT}' $HOME 'a  b' *")
    assert output.content == "['$HOME', 'a  b', '*']\n"


@pytest.mark.parametrize(
    "line", ["a | b", "a && b", "a > f", "a; b", "a & b", "a `b`", "a 2>&1", "(a)", "a\n;b"]
)
def test_shell_syntax_is_refused(line: str) -> None:
    with pytest.raises(ToolError, match="There is no shell"):
        split_line(line)


def test_an_open_quote_is_refused() -> None:
    with pytest.raises(ToolError, match="No closing quotation"):
        split_line("echo 'a")


@given(st.lists(st.text("ab '\"\\$|&;<>()`#*~\n=!é"), min_size=1, max_size=4))
def test_a_quoted_line_is_split_into_its_words(words: list[str]) -> None:
    assert split_line(shlex.join(words)) == words
    assert split_line(" ".join(re.sub(r"(\W)", r"\\\1", word) or "''" for word in words)) == words


async def test_expansion_where_it_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    tool = ShellTool(expand=True, cwd=str(tmp_path), env={"NAME_OF_TEST": "x y"})
    output = await call(tool, command='ls *.log | tr a-z A-Z; echo "$NAME_OF_TEST"')
    assert output.content == "A.LOG\nx y\n"


async def test_a_failing_command_is_an_error_with_its_output() -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    output = await call(ShellTool(), argv=[sys.executable, "-uc", script])
    assert output.is_error
    assert output.content == "out\nerr\n[exit code 3]"
    assert output.data["exit_code"] == 3


async def test_a_command_that_reads_gets_nothing() -> None:
    assert (await call(ShellTool(), argv=["cat"])).content == "(no output)"


@pytest.mark.parametrize(
    ("argv", "said"),
    [([], "empty"), ("", "empty"), ([""], "empty"), (["no-such-program"], "There is no program")],
)
async def test_what_cannot_be_run(argv: Any, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        await call(ShellTool(), argv=argv)
    directory = ShellTool(cwd="/no/such/directory")
    with pytest.raises(ToolError, match="true cannot be started"):
        await call(directory, argv=["true"])


FAMILY = """
%s
sh -c 'sleep 300 & echo $! >> "$0"; echo $$ >> "$0"; wait' "$1" &
echo $$ >> "$1"
while [ "$(wc -l < "$1")" -lt 3 ]; do sleep 0.05; done
echo started
%s
"""


def family(pids: Path, *, deaf: bool = False, then: str = "wait") -> list[str]:
    """A program with a child and a grandchild, which write down their pids."""
    script = FAMILY % ("trap '' TERM" if deaf else "", then)
    return ["sh", "-c", script, "sh", str(pids)]


async def members(pids: Path) -> list[int]:
    async with asyncio.timeout(30):
        while not pids.exists() or len(pids.read_text().split()) < 3:
            await asyncio.sleep(0.02)
    return [int(each) for each in pids.read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def all_end(pids: list[int]) -> None:
    async with asyncio.timeout(10):
        while any(map(alive, pids)):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_cancelled_call_takes_its_whole_group_along(tmp_path: Path, deaf: bool) -> None:
    running = asyncio.create_task(call(ShellTool(), argv=family(tmp_path / "pids", deaf=deaf)))
    pids = await members(tmp_path / "pids")
    assert all(map(alive, pids))
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < 2
    await all_end(pids)


async def test_a_call_cancelled_twice_takes_its_whole_group_along(tmp_path: Path) -> None:
    running = asyncio.create_task(call(ShellTool(), argv=family(tmp_path / "pids", deaf=True)))
    pids = await members(tmp_path / "pids")
    for _ in range(3):
        running.cancel()
        await asyncio.sleep(0.01)
    with pytest.raises(asyncio.CancelledError):
        await running
    await all_end(pids)


@pytest.mark.parametrize("deaf", [False, True])
async def test_time_is_over_for_the_whole_group(tmp_path: Path, deaf: bool) -> None:
    argv = family(tmp_path / "pids", deaf=deaf)
    output = await call(ShellTool(timeout=1.5), argv=argv)
    assert output.is_error
    assert output.content == "started\n\n[stopped: it did not finish within 1.5 s]"
    await all_end(await members(tmp_path / "pids"))


async def test_a_call_may_ask_for_less_time_and_not_for_more() -> None:
    for tool, timeout in [(ShellTool(timeout=0.2), 100), (ShellTool(timeout=100), 0.2)]:
        output = await call(tool, argv=["sleep", "300"], timeout=timeout)
        assert "within 0.2 s" in output.content


async def test_what_a_program_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """A child that holds the output open does not keep the call waiting."""
    argv = family(tmp_path / "pids", then="echo done")
    assert (await call(ShellTool(timeout=60), argv=argv)).content == "started\ndone\n"
    await all_end(await members(tmp_path / "pids"))


async def test_a_child_that_left_the_group_does_not_keep_the_call_waiting(tmp_path: Path) -> None:
    script = """
    setsid sh -c 'echo $$ > "$0"; exec sleep 300' "$1" &
    while [ ! -s "$1" ]; do sleep 0.05; done
    echo done
    """
    argv = ["sh", "-c", script, "sh", str(tmp_path / "pid")]
    assert (await call(ShellTool(timeout=60), argv=argv)).content == "done\n"
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


async def test_much_output_is_kept_at_both_ends() -> None:
    script = "print('first'); [print('x' * 999) for _ in range(5000)]; print('last')"
    output = await call(ShellTool(), argv=[sys.executable, "-c", script])
    assert output.content.startswith("first\nxxx")
    assert output.content.endswith("xxx\nlast\n")
    [kept_from_both] = re.findall(r"\[\.\.\. ([\d,]+) bytes not kept \.\.\.\]", output.content)
    assert int(kept_from_both.replace(",", "")) + 1_500_000 > 5_000_000 > len(output.content) * 3


async def test_all_output_of_a_program_that_ends_at_once_is_there() -> None:
    script = "import sys, os; sys.stdout.write('x' * 60_000); sys.stdout.flush(); os._exit(0)"
    for _ in range(5):
        output = await call(ShellTool(), argv=[sys.executable, "-c", script])
        assert len(output.content) == 60_000


async def test_output_that_is_not_text() -> None:
    script = r"import sys; sys.stdout.buffer.write(b'\xff\xc3\xa9')"
    assert (await call(ShellTool(), argv=[sys.executable, "-c", script])).content == "\ufffdé"


async def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await call(ShellTool(), argv=["true"])
        with pytest.raises(ToolError):
            await call(ShellTool(cwd="/no/such"), argv=["true"])
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before + 3


@pytest.mark.parametrize(
    ("allow", "argv", "allowed"),
    [
        (["echo"], ["echo", "a"], True),
        (["echo"], ["echo"], True),
        (["echo"], "echo a", True),
        (["echo"], ["echoes"], False),
        (["echo"], ["/bin/echo"], False),
        (["echo a*"], ["echo", "a"], True),
        (["echo a*"], ["echo", "b"], False),
        (["echo a*"], ["echo"], False),
        (["true", "echo *"], ["echo", "x"], True),
        (["echo a"], ["echo a"], False),
        ([], ["true"], False),
    ],
)
async def test_what_is_not_allowed_is_not_run(
    allow: list[str], argv: Any, allowed: bool, tmp_path: Path
) -> None:
    tool = ShellTool(allow=allow)
    if allowed:
        assert not (await call(tool, argv=argv)).is_error
    else:
        with pytest.raises(ToolError, match="is not allowed"):
            await call(tool, argv=argv)


@pytest.mark.parametrize("command", ["echo a; id", "echo a\nid", "echo `id`", "echo $(id)", "id"])
async def test_with_a_shell_a_program_alone_allows_no_line(command: str) -> None:
    with pytest.raises(ToolError, match="is not allowed"):
        await call(ShellTool(expand=True, allow=["echo"]), command=command)


async def test_a_tool_for_one_program() -> None:
    tool = ShellTool(program="git", effect=Effect.READ, allow=["git --version", "git log *"])
    assert (tool.spec.name, tool.spec.effect) == ("git", Effect.READ)
    assert (await call(tool, args=["--version"])).content.startswith("git version")
    for args in (["push"], ["log; push"], ["log", "x"][:1]):
        with pytest.raises(ToolError, match="is not allowed"):
            await call(tool, args=args)
    with pytest.raises(ToolError, match="is not allowed"):
        await call(tool, argv=["id"])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("kubectl get pods -n a", "kubectl get pods -n b", True),
        ("kubectl get pods", "kubectl delete pods", False),
        ("kubectl -n a get pods", "kubectl -n a delete pods", False),
        ("aws ec2 describe-instances", "aws ec2 terminate-instances", False),
        ("gcloud compute instances list", "gcloud compute instances delete", False),
        ("gh pr list", "gh pr merge", False),
        ("sh -c ls", "sh -c 'rm -rf /'", False),
        ("sudo systemctl status a", "sudo systemctl status b", False),
        ("/usr/bin/sudo ls a b", "/usr/bin/sudo ls a c", False),
        ("df -h", "df -h", True),
        ("rm a", "rm b", False),
        ("'rm a'", "rm a", False),
    ],
)
def test_which_commands_are_alike(one: str, other: str, alike: bool) -> None:
    tool = ShellTool()
    assert (tool.similar({"argv": one}) == tool.similar({"argv": split_line(other)})) is alike


def test_a_line_for_a_shell_is_like_itself_only() -> None:
    tool = ShellTool(expand=True)
    assert tool.similar({"command": "ls"}) != tool.similar({"command": "ls; id"})


@pytest.mark.parametrize(
    "argv", ["rm -rf x", " rm  -rf x", "'rm' -rf x", "r\\m -rf x", ["rm", "x"]]
)
async def test_a_rule_sees_words_however_they_are_written(argv: Any, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    policy = Policy(
        write=Action.ALLOW, rules=(Rule(action=Action.DENY, arguments={"argv": "rm *"}),)
    )
    [tool] = Gate(policy, mode="all").guard([ShellTool(cwd=str(tmp_path))])
    assert (await call(tool, argv=argv)).denied
    assert (tmp_path / "x").exists()
    assert not (await call(tool, argv=["ls"])).denied
