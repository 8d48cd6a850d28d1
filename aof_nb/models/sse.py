"""Server-sent events, cut out of a stream of bytes."""

from __future__ import annotations

from collections.abc import Iterable

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventStream:
    r"""Collects bytes and gives back the data of the events that are whole.

    Only ``data`` fields are kept: the providers repeat an event's name in its data. Comments
    and other fields are skipped. Follows the WHATWG HTML standard, section 9.2.6.

    Example:
        >>> stream = EventStream()
        >>> list(stream.feed(b'data: {"a": 1}\r\n\r\nda')), list(stream.feed(b"ta: 2\n\n"))
        ([b'{"a": 1}'], [b'2'])
    """

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Takes the next bytes, cut anywhere; yields the data of each event now whole."""
        data = self._rest + data
        if not self._begun:
            if len(data) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(data):
                self._rest = data
                return
            data = data.removeprefix(_BYTE_ORDER_MARK)
            self._begun = True
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r"):
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        blocks = data.split(b"\n\n")
        self._rest = blocks.pop() + held
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                payload = block[6:]
            else:
                payload = _data(block)
            if payload:
                yield payload

    def flush(self) -> Iterable[bytes]:
        """Yields the data of a last event that its sender did not close with an empty line."""
        rest, self._rest = self._rest.replace(b"\r", b"\n").strip(b"\n"), b""
        payload = _data(rest)
        if payload:
            yield payload


def _data(block: bytes) -> bytes:
    lines = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
