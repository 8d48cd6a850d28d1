"""What completion looks up outside of the kernel's memory, within the time that typing leaves.

A disk or a server may be slow: what has not come in time is known at the next key.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aof_nb.agent import Agent

_T = TypeVar("_T")
_PATIENCE = 0.03
_FRESH = 2.0
_RUNS = 50


class _Lookup:
    """The last answers, by question, and who is looking for new ones."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[float, Any]] = {}
        self._looking: set[Any] = set()
        self._lock = threading.Lock()

    def __call__(self, question: Any, look: Callable[[], _T], otherwise: _T) -> _T:
        at, answer = self._known.get(question, (None, otherwise))
        if at is not None and time.monotonic() - at < _FRESH:
            return answer
        done = threading.Event()

        def work() -> None:
            try:
                self._known[question] = time.monotonic(), look()
            except Exception:  # noqa: BLE001  what cannot be looked up is not completed
                self._known[question] = time.monotonic(), otherwise
            finally:
                with self._lock:
                    self._looking.discard(question)
                done.set()

        with self._lock:
            if question in self._looking:
                return answer
            self._looking.add(question)
        threading.Thread(target=work, name="aof completion", daemon=True).start()
        done.wait(_PATIENCE)
        return self._known.get(question, (None, answer))[1]


_lookup = _Lookup()


def recent_runs() -> dict[str, str]:
    """The ids of the newest runs, each with its agent and status."""
    from aof_nb.paths import state_dir

    def look() -> dict[str, str]:
        from aof_nb.journal.summary import summaries

        found = itertools.islice(summaries(), _RUNS)
        runs = {each.run_id: f"{each.agent}, {each.status}" for each in found}
        return {"last": "the run that began last"} | runs if runs else {}

    return _lookup(("runs", state_dir()), look, {})


def sessions_of(agent: Agent) -> list[str]:
    """The conversations that an agent's memory holds."""

    async def look() -> list[str]:
        from aof_nb.memory import open_memory

        # The agent's own store belongs to the kernel's loop.
        memory = agent.memory
        store = open_memory(memory) if isinstance(memory, str) else memory
        return sorted(await store.sessions()) if store is not None else []

    return _lookup(("sessions", id(agent)), lambda: asyncio.run(look()), [])


def model_names() -> list[str]:
    """Models that can be named: an example of each provider."""

    def look() -> list[str]:
        from aof_nb.models.registry import providers

        return [each.example for each in providers().values() if each.example]

    return _lookup("models", look, [])


def tool_names(variables: Iterable[tuple[str, Any]]) -> list[str]:
    """The tools that can be named: those that are built in, and the notebook's functions.

    Args:
        variables: The user's variables.
    """
    from aof_nb.tools.registry import builtin_names

    own = [name for name, each in variables if hasattr(each, "spec") and hasattr(each, "call")]
    return sorted({*own, *builtin_names()})
