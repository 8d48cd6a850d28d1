"""What ``%aof`` says when nothing is asked of it: what there is, what runs, what holds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from aof_nb.journal.recording import State
from aof_nb.journal.summary import summaries
from aof_nb.journal.wording import shortened
from aof_nb.notebook import listing, registry
from aof_nb.notebook.settings import AOF
from aof_nb.readable import printable

_LOOKED_AT = 50
_WIDEST = 60


async def status(variables: Mapping[str, Any], settings: AOF) -> str:
    """A few lines about the notebook.

    Args:
        variables: The user's variables.
        settings: The notebook's defaults.
    """
    agents = [
        f"{name} ({agent.model_name})" for name, agent in registry.all_agents(variables).items()
    ]
    going = await asyncio.to_thread(_going)
    rows = [
        ("agents", agents or ["none yet: define one with %%aof_agent NAME"]),
        ("servers", _servers() or ["none yet: define one with %%aof_mcp NAME"]),
        ("runs", going or ["none is going on or waits"]),
        ("defaults", [_defaults(settings)]),
    ]
    lines = [
        f"{label if place == 0 else '':<9} {text}"
        for label, texts in rows
        for place, text in enumerate(texts)
    ]
    return "\n".join([*lines, "", "%aof help shows the commands, %aof runs the last runs."])


def _going() -> list[str]:
    return [
        f"{each.run_id} {printable(each.agent)}, {each.status}: "
        f"{printable(shortened(' '.join(each.prompt.split()), _WIDEST))}"
        for each in itertools.islice(summaries(), _LOOKED_AT)
        if each.status in {State.RUNNING, State.WAITING}
    ]


def _servers() -> list[str]:
    states = listing.connection_states()
    named = {name: listing.standing(states.pop(name, None)) for name in registry.servers} | {
        name: listing.standing(each) for name, each in states.items()
    }
    return [f"{name}: {standing}" for name, standing in named.items()]


def _defaults(settings: AOF) -> str:
    told = [f"approve {settings.approve}", f"model {settings.model or 'as each agent says'}"]
    told += [f"session {settings.session}"] if settings.session else []
    told += [f"max_turns {settings.max_turns}"] if settings.max_turns else []
    return ", ".join(told)
