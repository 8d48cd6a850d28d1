"""Images that tools return."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import pytest
from PIL import Image

from aof_nb.notebook.images import MOST_BYTES, images_of
from aof_nb.notebook.results import shown

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d4948445200000001000000010806000000") + b"rest"
).decode()


def result(*blocks: Any) -> dict[str, Any]:
    return {"content": list(blocks)}


def image(data: str = PNG, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "mimeType": kind, "data": data}


def test_an_image_is_shown_beside_what_is_said_of_it() -> None:
    found = shown("<b>CPU</b>\n[image: image/png, 37 bytes]", result(image()))
    assert found is not None
    for form in (found.html, found.markdown):
        assert f'src="data:image/png;base64,{PNG}"' in form
        assert 'alt="image 1 that the tool returned"' in form
    assert "&lt;b&gt;CPU" in found.html


@pytest.mark.parametrize(
    "block",
    [
        image(kind="image/svg+xml", data=base64.b64encode(b"<svg onload=alert(1)>").decode()),
        image(kind='image/png" onerror="alert(1)'),
        image(data=PNG + '" onerror="alert(1)'),
        image(data="not base64"),
        image(data=base64.b64encode(b"<html>").decode()),
        image(kind="image/jpeg"),
        image(data=base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(MOST_BYTES)).decode()),
        {"type": "image"},
        {"type": "image", "mimeType": ["image/png"], "data": PNG},
        {"type": "audio", "mimeType": "image/png", "data": PNG},
        "image",
        None,
    ],
)
def test_what_is_no_image_or_could_act_is_left_out(block: Any) -> None:
    assert images_of(result(block)) == []


def test_odd_results_have_none() -> None:
    for odd in (None, [], "content", {"content": "image"}, {"content": None}):
        assert images_of(odd) == []


def test_a_large_image_is_made_smaller() -> None:
    noise = Image.effect_noise((2400, 1600), 90)
    large = encoded(noise)
    assert len(large) > 2_000_000
    [found] = images_of(result(image(large)))
    assert found.media_type == "image/png"
    assert len(base64.b64decode(found.data)) <= MOST_BYTES
    with Image.open(io.BytesIO(base64.b64decode(found.data))) as seen:
        assert seen.width / seen.height == pytest.approx(1.5, abs=0.01)


def test_an_image_of_too_many_pixels_is_not_unfolded() -> None:
    bomb = encoded(Image.new("1", (40_000, 40_000)))
    assert MOST_BYTES < len(bomb) < 10_000_000
    began = time.process_time()
    assert images_of(result(image(bomb))) == []
    assert time.process_time() - began < 1


def encoded(picture: Image.Image) -> str:
    made = io.BytesIO()
    picture.save(made, "png")
    return base64.b64encode(made.getvalue()).decode()


def test_no_more_than_a_few() -> None:
    assert len(images_of(result(*[image()] * 9))) == 4
