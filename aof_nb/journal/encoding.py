"""JSON of whatever tools return and models say: what JSON cannot hold is kept as it looks.

A journal that refused an odd value would lose the outcome of a call that has been made.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from aof_nb.messages import sendable

_DEEPEST = 100
# Python refuses to write numbers of more than 4,300 digits.
_MOST_BITS = 4096


def _as_json(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


_encode = msgspec.json.Encoder(enc_hook=_as_json).encode
_encode_in_order = msgspec.json.Encoder(order="deterministic", enc_hook=_as_json).encode


def encode(value: Any) -> bytes:
    r"""A value as JSON, whatever it holds.

    Half characters become U+FFFD, keys and objects that are no JSON what they look like as text;
    numbers that are none become null, and what is nested without end is cut off.

    Example:
        >>> encode({"path": "caf\udce9", "n": 2**70})
        b'{"path":"caf\xef\xbf\xbd","n":1180591620717411303424}'
    """
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001  an object may fail in any way to say what it looks like
        return _encode(_plain(value))


def encode_in_order(value: Any) -> bytes:
    """The same, always the same for values that are equal: for hashes.

    Example:
        >>> encode_in_order({"b": 1, "a": {2, 1}})
        b'{"a":[1,2],"b":1}'
    """
    try:
        return _encode_in_order(value)
    except Exception:  # noqa: BLE001  see encode
        return _encode_in_order(_plain(value))


def _plain(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """A value of nothing but what JSON has; `above` are the values that it is in."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < _MOST_BITS else _looks(value)
    if isinstance(value, str):
        return sendable(value)
    if id(value) in above or len(above) == _DEEPEST:
        return "..."
    above |= {id(value)}
    if isinstance(value, msgspec.Struct):
        return _plain_struct(value, above)
    if isinstance(value, Mapping):
        return {_looks(key): _plain(each, above) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, above) for each in value]
    if isinstance(value, AbstractSet):
        return sorted((_plain(each, above) for each in value), key=_looks)
    try:
        return msgspec.json.decode(_encode(value))
    except Exception:  # noqa: BLE001  see encode
        return _looks(value)


def _plain_struct(struct: msgspec.Struct, above: frozenset[int]) -> dict[str, Any]:
    config = struct.__struct_config__
    told = {} if config.tag_field is None else {config.tag_field: config.tag}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if not config.omit_defaults or value != field.default:
            told[field.encode_name] = _plain(value, above)
    return told


def _looks(value: Any) -> str:
    try:
        return sendable(str(value))
    except Exception:  # noqa: BLE001  see encode
        return f"<{type(value).__name__}>"
