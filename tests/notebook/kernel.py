"""A real kernel, spoken to as JupyterLab or as a headless client speaks to it."""

from __future__ import annotations

import contextlib
import html
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

PATIENCE = 30.0


class ThisPython(KernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="test", language="python")


def as_text(output: dict[str, Any]) -> str:
    """An output as plain text, or what its Markdown says."""
    data = output["data"]
    if "text/plain" in data:
        return str(data["text/plain"])
    return html.unescape(
        re.sub(r"</?(?:b|code|i|small|details|summary)>", "", data["text/markdown"])
    )


class Frontend:
    """A page that shows a run's view: it says that it is ready, and answers what is asked.

    Args:
        kernel: The kernel.
        answer: What is sent for each question; None to leave it.
    """

    def __init__(self, kernel: Kernel, answer: dict[str, Any] | None = None) -> None:
        self.kernel = kernel
        self.answer = answer
        self.view = ""
        self.name = secrets.token_hex(4)
        self.html: dict[int, str] = {}
        self.asked: list[str] = []
        self.told: list[dict[str, Any]] = []

    def ready(self) -> None:
        """Says that it is there and has nothing yet."""
        self.kernel.custom(self.view, {"do": "ready", "page": self.name})

    def __call__(self, message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "comm_open" and "_esm" in content["data"].get("state", {}):
            self.view = content["comm_id"]
            self.ready()
        if message["msg_type"] != "comm_msg" or content["comm_id"] != self.view:
            return
        if content["data"]["method"] != "custom":
            return
        told = content["data"]["content"]
        if told.get("all", self.name) != self.name or not (self.told or "all" in told):
            return
        self.told.append(told)
        for place, keep, tail in told.get("items", ()):
            before = self.html.get(place, "").encode("utf-16-le")[: 2 * keep]
            self.html[place] = before.decode("utf-16-le") + tail
        for shown in self.html.values():
            for call in re.findall(r'<section class="aof-card[^>]*data-call="([^"]+)"', shown):
                if call not in self.asked:
                    self.asked.append(call)
                    if self.answer is not None:
                        told = {"do": "answer", "call": html.unescape(call), **self.answer}
                        self.kernel.custom(self.view, told)


@dataclass
class Executed:
    """What a cell sent, and how it ended."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [each["content"] for each in self.messages if each["msg_type"] in types]

    @property
    def displays(self) -> list[dict[str, Any]]:
        """The outputs as a notebook keeps them: in order, in their last state."""
        kept: list[dict[str, Any]] = []
        by_id: dict[str, dict[str, Any]] = {}
        for message in self.messages:
            content = message["content"]
            display_id = content.get("transient", {}).get("display_id")
            if message["msg_type"] == "display_data":
                kept.append(dict(content))
                if display_id:
                    by_id[display_id] = kept[-1]
            elif message["msg_type"] == "update_display_data":
                by_id[display_id].update(content)
        return kept

    @property
    def text(self) -> str:
        return "\n".join(map(as_text, self.displays))

    @property
    def printed(self) -> str:
        return "".join(each["text"] for each in self.of("stream"))


class Kernel:
    def __init__(self, directory: Path, **environment: str) -> None:
        self.manager = ThisPython()
        env = os.environ | {
            "AOF_STATE_DIR": str(directory / "state"),
            "IPYTHONDIR": str(directory / "ipython"),
        }
        for name in ("AOF_APPROVE", "AOF_APPROVER", "AOF_FRONTEND", "AOF_HEADLESS"):
            env.pop(name, None)
        self.manager.start_kernel(cwd=str(directory), env=env | environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def send(self, code: str, *, live: bool = True) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": live,
            "stop_on_error": True,
        }
        metadata = {"cellId": "cell"} if live else {}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def finish(
        self, sent: str, seen: Callable[[dict[str, Any]], None] = lambda message: None
    ) -> Executed:
        executed = Executed()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != sent:
                if message["msg_type"] == "comm_msg":
                    seen(message)
                continue
            executed.messages.append(message)
            if message["content"].get("execution_state") == "idle":
                break
            seen(message)
        while not executed.reply:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == sent:
                executed.reply = reply["content"]
        return executed

    def run(
        self,
        code: str,
        *,
        live: bool = True,
        seen: Callable[[dict[str, Any]], None] = lambda message: None,
    ) -> Executed:
        return self.finish(self.send(code, live=live), seen)

    def custom(self, comm_id: str, told: dict[str, Any]) -> None:
        """What JupyterLab sends when a widget's script sends a message."""
        data = {"method": "custom", "content": told}
        content = {"comm_id": comm_id, "data": data}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", content))

    def interrupted(self, code: str, when: Callable[[dict[str, Any]], bool]) -> tuple[float, Any]:
        """Runs a cell, interrupts it once, and tells how long it took to end, and how."""
        at: list[float] = []

        def seen(message: dict[str, Any]) -> None:
            if not at and when(message):
                at.append(time.monotonic())
                self.manager.interrupt_kernel()

        executed = self.run(code, seen=seen)
        return time.monotonic() - at[0], executed


@contextlib.contextmanager
def started(directory: Path, **environment: str) -> Iterator[Kernel]:
    kernel = Kernel(directory, **environment)
    try:
        yield kernel
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)
