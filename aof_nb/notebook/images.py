"""Images that tools return, as the content blocks of MCP hold them."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import Any, Final

MOST_BYTES: Final = 150_000
"""Larger images are made smaller: they would be in the notebook's file with each run."""
_READ_BYTES = 10_000_000
_READ_PIXELS = 30_000_000
_EDGES = (1400, 900, 600)
_MOST_IMAGES = 4
_BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}


@dataclass(frozen=True)
class Image:
    """An image.

    Args:
        media_type: Such as ``image/png``.
        data: Its bytes as base64.
    """

    media_type: str
    data: str

    def html(self, label: str) -> str:
        """The image itself; nothing is fetched for it.

        Args:
            label: What it is, for who cannot see it; without quotes and markup.
        """
        return f'<img class=aof-plot alt="{label}" src="data:{self.media_type};base64,{self.data}">'


def images_of(data: Any) -> list[Image]:
    """The images in a tool's result that can be shown.

    What is no image by its first bytes, or could act (SVG), is left out; what is large is made
    smaller, for which the extra `plots` is needed.

    Args:
        data: The result, in the form of MCP's `CallToolResult`:
            https://modelcontextprotocol.io/specification/2025-11-25/server/tools#image-content

    Example:
        >>> images_of({"content": [{"type": "image", "mimeType": "image/png", "data": "AAAA"}]})
        []
    """
    blocks = data.get("content") if isinstance(data, dict) else None
    found = [_image(each) for each in blocks] if isinstance(blocks, list) else []
    return [each for each in found if each is not None][:_MOST_IMAGES]


def _image(block: Any) -> Image | None:
    if not isinstance(block, dict) or block.get("type") != "image":
        return None
    kind, data = block.get("mimeType"), block.get("data")
    begins = _BEGINNINGS.get(kind) if isinstance(kind, str) else None
    if begins is None or not isinstance(data, str) or len(data) > _READ_BYTES * 4 // 3:
        return None
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not decoded.startswith(begins):
        return None
    return Image(str(kind), data) if len(decoded) <= MOST_BYTES else _smaller(decoded)


def _smaller(image: bytes) -> Image | None:
    """An image with fewer pixels and colours; None if it cannot be made, or stays too large."""
    try:
        from PIL import Image as Pictures

        with Pictures.open(io.BytesIO(image)) as picture:
            if picture.width * picture.height > _READ_PIXELS:
                return None
            whole = picture.convert("RGBA")
    except Exception:  # noqa: BLE001  whatever a decoder finds wrong with what somebody has sent
        return None
    for edge in _EDGES:
        whole.thumbnail((edge, edge))
        made = io.BytesIO()
        whole.quantize(method=Pictures.Quantize.FASTOCTREE).save(made, "png", optimize=True)
        if made.tell() <= MOST_BYTES:
            return Image("image/png", base64.b64encode(made.getvalue()).decode())
    return None
