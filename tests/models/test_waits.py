"""What providers' headers say about waiting."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aof_nb.models.waits import asked_wait, said_wait

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795521617000"}, 17.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795521617"}, 17.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "17"}, 17.0),
        ({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "17"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-tokens": "7", "x-ratelimit-reset-tokens": "6m0s"}, None),
        (
            {
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-requests-reset": "2026-11-24T12:05:00Z",
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-24T12:00:45Z",
                "anthropic-ratelimit-output-tokens-remaining": "0",
                "anthropic-ratelimit-output-tokens-reset": "2026-11-24T12:00:05Z",
            },
            45.0,
        ),
        (
            {
                "retry-after": "3",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            3.0,
        ),
    ],
)
def test_what_headers_ask(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, moment=NOON) == seconds


@given(st.text(), st.text())
def test_nonsense_is_no_wait_and_no_crash(given_: str, reset: str) -> None:
    wait = asked_wait(
        {
            "retry-after": given_,
            "retry-after-ms": reset,
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": reset,
        }
    )
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for gpt-5 (RPM). Please try again in 20s. Visit the page.", 20.0),
        ("Please try again in 7m12.5s.", 432.5),
        ("Rate limit reached. Please try again in 248ms.", 0.248),
        ("Your requests have exceeded the call rate limit. Please retry after 26 seconds.", 26.0),
        ("Please retry in 34.07s.", 34.07),
        ("The server is busy. Please try again later.", None),
        ("Please try again in a moment.", None),
    ],
)
def test_what_messages_say(message: str, seconds: float | None) -> None:
    assert said_wait(message) == seconds


@given(st.text())
def test_any_message_is_read(message: str) -> None:
    assert (said_wait(f"try again in {message}") or 0.0) >= 0
