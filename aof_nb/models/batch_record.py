"""What is known of one map's batches, on disk: JSON lines that are only ever added to.

What must not be done twice is written, and synced, before it is done: that a batch is about to be
submitted, that a tool is about to be called. A line that a crash has torn is left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from aof_nb.errors import ConfigurationError
from aof_nb.events import ModelResponse
from aof_nb.ports import ToolOutput

FORMAT = 1


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The first line: whose prompts these are."""

    agent: str
    model: str
    prompts: int
    format: int = FORMAT


class BatchPrepared(msgspec.Struct, frozen=True, tag="batch_prepared"):
    """A batch is about to be submitted, at `time` (seconds of the Unix epoch)."""

    key: str
    requests: tuple[str, ...]
    time: float


class BatchSubmitted(msgspec.Struct, frozen=True, tag="batch_submitted"):
    """The provider has taken a batch."""

    key: str
    batch_id: str


class BatchRefused(msgspec.Struct, frozen=True, tag="batch_refused"):
    """The provider has not taken a batch: its requests are to be submitted again."""

    key: str


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """What came of a request: a response, or an error's message."""

    request: str
    response: ModelResponse | None = None
    error: str = ""
    error_type: str = ""
    remedy: str = ""
    request_id: str | None = None


class ToolCalled(msgspec.Struct, frozen=True, tag="tool_called"):
    """A tool is about to be called."""

    prompt: int
    call_id: str
    tool: str


class ToolReturned(msgspec.Struct, frozen=True, tag="tool_returned"):
    """What a tool has returned."""

    prompt: int
    call_id: str
    output: ToolOutput


Entry: TypeAlias = (
    Begun | BatchPrepared | BatchSubmitted | BatchRefused | Answered | ToolCalled | ToolReturned
)
_decode = msgspec.json.Decoder(Entry).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


class BatchRecord:
    """The record of one map, held by this process alone while it is open.

    Args:
        directory: Where it is kept; made if it is missing.
        begun: Its first line.

    Raises:
        ConfigurationError: If another process has it open, or it cannot be read.
    """

    def __init__(self, directory: Path, begun: Begun) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / "record.jsonl"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.prepared: dict[str, BatchPrepared] = {}
        self.submitted: dict[str, str] = {}
        self.answers: dict[str, Answered] = {}
        self.calls: dict[tuple[int, str], ToolCalled] = {}
        self.outputs: dict[tuple[int, str], ToolOutput] = {}
        try:
            self._lock()
            if not self._load():
                self.write(begun)
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                "another process waits for the batches of the same agent and prompts",
                remedy="wait for it, or end it: the batches go on at the provider",
            ) from error

    def _load(self) -> bool:
        data = self._path.read_bytes()
        *lines, torn = data.split(b"\n")
        if torn:
            os.truncate(self._path, len(data) - len(torn))
        for number, line in enumerate(lines, 1):
            try:
                self._note(_decode(line))
            except msgspec.DecodeError as error:
                raise ConfigurationError(
                    f"{self._path}, line {number}: {error}",
                    remedy="move the file away to begin anew; its batches are paid for again",
                ) from error
        return bool(lines)

    def _note(self, entry: Entry) -> None:
        match entry:
            case BatchPrepared(key=key):
                self.prepared[key] = entry
            case BatchSubmitted(key=key, batch_id=batch_id):
                self.submitted[key] = batch_id
            case BatchRefused(key=key):
                self.prepared.pop(key, None)
            case Answered(request=request):
                self.answers[request] = entry
            case ToolCalled(prompt=prompt, call_id=call_id):
                self.calls[prompt, call_id] = entry
            case ToolReturned(prompt=prompt, call_id=call_id, output=output):
                self.outputs[prompt, call_id] = output
            case _:
                pass

    def write(self, *entries: Entry) -> None:
        """Adds lines; they are on the disk when this returns.

        Raises:
            OSError: If they cannot be written.
        """
        data = memoryview(b"".join(_encode(entry) + b"\n" for entry in entries))
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)
        for entry in entries:
            self._note(entry)

    def close(self) -> None:
        """Lets go of it; it stays for the next time."""
        os.close(self._file)

    def remove(self) -> None:
        """Deletes it, as it is of no more use."""
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()


def as_json(output: Any) -> ToolOutput:
    """A tool's output as the record can hold it.

    Example:
        >>> as_json("done")
        ToolOutput(content='done', data=None, is_error=False, denied=False)
    """
    if not isinstance(output, ToolOutput):
        return ToolOutput(str(output))
    return msgspec.json.decode(_encode(output), type=ToolOutput)
