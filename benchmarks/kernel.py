"""A real kernel, and a page that runs cells in it as JupyterLab does."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

PATIENCE = 120.0
PING = 0.047
"""Seconds from one comm message to the next: no multiple of what anything else takes."""

ECHO = """
import asyncio
from comm import create_comm

bench_loop = asyncio.get_running_loop()

def bench_answer(message):
    data = message["content"]["data"]
    if data["loop"]:
        bench_loop.call_soon_threadsafe(bench_echo.send, data)
    else:
        bench_echo.send(data)

bench_echo = create_comm(target_name="bench.echo")
bench_echo.on_msg(bench_answer)
"""

IDLE = """
import asyncio
from IPython.display import display
display("idle")
await asyncio.sleep({seconds})
"""


@dataclass
class Heard:
    """What came while a cell ran.

    Args:
        messages: Of the iopub channel, without those of the echo.
        trips: Milliseconds from sending a comm message until its echo came.
        clicks: The same where the kernel's event loop answers, as it does clicks in a view.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)
    clicks: list[float] = field(default_factory=list)


class _ThisPython(KernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "--log-level=40"]
        argv += ["-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="bench", language="python")


class Page:
    """The notebook page: it executes cells, answers views, and pings the echo meanwhile.

    Comm messages go to subshells, one for each target, if the kernel has subshells.

    Args:
        manager: The kernel's.
        client: Its client; the channels are open.
    """

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        told = client.kernel_info(reply=True, timeout=PATIENCE)["content"]
        self.subshells = "kernel subshells" in told.get("supported_features", [])
        self._echo = ""
        self._echo_shell, self._view_shell = self._subshell(), self._subshell()
        self._sent: dict[int, float] = {}
        self._count = 0
        opened = [each for each in self.run(ECHO).messages if each["msg_type"] == "comm_open"]
        self._echo = opened[0]["content"]["comm_id"]

    def run(self, code: str, *, ready: bool = False, pings: bool = False) -> Heard:
        """Runs a cell to its end.

        Args:
            code: The cell.
            ready: Whether views are shown, so that they say that they are ready.
            pings: Whether comm messages are sent to the echo while the cell has outputs.

        Raises:
            SystemExit: The cell fails, or the kernel is silent.
        """
        sent = self._execute(code)
        heard, began, ended, due = Heard(), False, False, float("inf")
        last = time.perf_counter()
        while not ended or self._sent:
            now = time.perf_counter()
            if now >= due and not ended:
                self._ping()
                due = max(now, due + PING)
            message = self._next(0.5 if ended else due - now)
            if message is None:
                if now - last > PATIENCE:
                    raise SystemExit("the kernel is silent")
                continue
            last = time.perf_counter()
            if self._is_echo(message):
                data = message["content"]["data"]
                taken = (last - self._sent.pop(data["ping"])) * 1000
                (heard.clicks if data["loop"] else heard.trips).append(taken)
                continue
            mine = message["parent_header"].get("msg_id") == sent
            state = message["content"].get("execution_state")
            began = began or mine
            ended = ended or (mine and state == "idle")
            if message["msg_type"] == "error":
                raise SystemExit("\n".join(message["content"]["traceback"]))
            if not began or message["msg_type"] == "status":
                continue
            heard.messages.append(message)
            if ready and _opens_view(message):
                self._tell_view(message["content"]["comm_id"], "ready")
            if pings and due == float("inf") and message["msg_type"] == "display_data":
                due = last
        return heard

    def ended(self, code: str, by: Literal["stop", "interrupt"], after: float) -> float:
        """Runs a cell that shows a view, and ends it; milliseconds until the kernel is idle again.

        Args:
            code: The cell, which takes longer.
            by: The view's button or the kernel's interrupt.
            after: Seconds from the view's opening.

        Raises:
            SystemExit: The cell was not ended by this, or the kernel is silent.
        """
        sent, view, due, ended_with = self._execute(code), "", float("inf"), ""
        clicked, began = None, time.perf_counter()
        while True:
            now = time.perf_counter()
            if now - began > PATIENCE:
                raise SystemExit("the cell does not end")
            if clicked is None and now >= due:
                clicked = time.perf_counter()
                if by == "interrupt":
                    self._manager.interrupt_kernel()
                else:
                    self._tell_view(view, "stop")
            message = self._next(min(due - now, 1.0) if clicked is None else 1.0)
            if message is None or message["parent_header"].get("msg_id") != sent:
                continue
            if _opens_view(message):
                view, due = message["content"]["comm_id"], time.perf_counter() + after
                self._tell_view(view, "ready")
            elif message["msg_type"] == "error":
                ended_with = message["content"]["ename"]
            elif message["content"].get("execution_state") == "idle":
                if clicked is None or ended_with != "Interrupted":
                    raise SystemExit(f"the cell ended with {ended_with or 'no error'}")
                return (time.perf_counter() - clicked) * 1000

    def idle(self, seconds: float) -> Heard:
        """What comes while a cell does nothing but wait.

        Args:
            seconds: How long.
        """
        return self.run(IDLE.format(seconds=seconds), pings=True)

    def _execute(self, code: str) -> str:
        # `%%aof` shows a run live to a frontend that names its cell and answers `input()`.
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True}
        content |= {"user_expressions": {}, "stop_on_error": True}
        message = self._client.session.msg("execute_request", content, metadata={"cellId": "bench"})
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def _ping(self) -> None:
        self._count += 1
        self._sent[self._count] = time.perf_counter()
        data = {"ping": self._count, "loop": self._count % 2 == 0}
        self._comm(self._echo, data, self._echo_shell)

    def _tell_view(self, comm_id: str, action: str) -> None:
        told = {"method": "custom", "content": {"do": action, "page": "bench"}}
        self._comm(comm_id, told, self._view_shell)

    def _comm(self, comm_id: str, data: dict[str, Any], subshell: str | None) -> None:
        message = self._client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self._client.shell_channel.send(message)

    def _is_echo(self, message: dict[str, Any]) -> bool:
        return message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self._echo

    def _next(self, seconds: float) -> dict[str, Any] | None:
        try:
            return self._client.get_iopub_msg(timeout=min(max(seconds, 0.0), 1.0))
        except queue.Empty:
            return None

    def _subshell(self) -> str | None:
        if not self.subshells:
            return None
        message = self._client.session.msg("create_subshell_request", {})
        self._client.control_channel.send(message)
        reply = self._client.get_control_msg(timeout=PATIENCE)
        return str(reply["content"]["subshell_id"])


def _opens_view(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "comm_open" and "_esm" in message["content"]["data"].get(
        "state", {}
    )


@contextmanager
def page() -> Iterator[Page]:
    """A page with a kernel of its own."""
    context = zmq.Context()
    # A message that finds the queue full is thrown away, and none is to be missed here.
    context.setsockopt(zmq.RCVHWM, 0)
    with tempfile.TemporaryDirectory() as directory:
        manager = _ThisPython(context=context)
        environment = {"AOF_STATE_DIR": directory, "IPYTHONDIR": directory}
        manager.start_kernel(cwd=directory, env=os.environ | environment)
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield Page(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
