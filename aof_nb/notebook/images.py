"""Images that tools return, as the content blocks of MCP hold them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

MOST_BYTES: Final = 150_000
"""Larger images are named and not shown: they would be in the notebook's file with each run."""
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

    What is no image by its first bytes, is too large, or could act (SVG) is left out.

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
    if begins is None or not isinstance(data, str) or len(data) > MOST_BYTES * 4 // 3 + 4:
        return None
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Image(str(kind), data) if decoded.startswith(begins) else None
