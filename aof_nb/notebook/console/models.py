"""The providers of models: what each needs, how it stands, and whether a model answers."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aof_nb.errors import AofError, ConfigurationError
from aof_nb.journal.wording import dollars, tokens
from aof_nb.markdown import html_text
from aof_nb.models.breaker import BreakerState
from aof_nb.models.breaker_board import OpenBreaker, open_breakers
from aof_nb.models.limiter import LimiterState, limiter_states
from aof_nb.models.needs import needs_of
from aof_nb.models.ping import Pong, ping
from aof_nb.models.registry import Provider, providers
from aof_nb.notebook.console import markup
from aof_nb.notebook.console.page import Host
from aof_nb.notebook.console.stoppable import Stoppable, Stopped
from aof_nb.notebook.console.table import Column, Table, TableRow
from aof_nb.notebook.console.widgets import button
from aof_nb.readable import counted, seconds
from aof_nb.truncation import truncate

_COLUMNS = (
    Column("provider", "Provider"),
    Column("ready", "Ready"),
    Column("needs", "Needs", wide=True),
    Column("breaker", "Left alone"),
    Column("limit", "Rate limit"),
)
_SAID_CHARS = 400


class ModelsPage:
    """A table of providers, and a field to ping a model.

    Args:
        host: The console.
    """

    interval = 2.0

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: Mapping[str, Provider] = {}

    def build(self) -> Any:
        """Makes the page's widget."""
        import ipywidgets

        self._table = Table("Providers", _COLUMNS, empty="There are no providers.")
        self._table.on_select(self._chosen)
        self._name: Any = ipywidgets.Text(
            placeholder="provider:model", description="Model", layout={"width": "28em"}
        )
        self._name.style.description_width = "auto"
        self._ping = button(
            "Ping", "bolt", self._begin, tip="Asks the model for one word; that may cost a little"
        )
        self._work = Stoppable(self._host, self._ping)
        self._answer: Any = ipywidgets.HTML()
        self._detail: Any = ipywidgets.HTML()
        for each in (self._answer, self._detail):
            each.add_class("aof-wrap")
        bar: Any = ipywidgets.HBox(
            [self._name, self._ping, self._work.button], layout={"flex_flow": "row wrap"}
        )
        return ipywidgets.VBox([self._table.widget, self._detail, bar, self._answer])

    async def refresh(self) -> None:
        """Looks at the environment, the breakers of this machine and the limiters."""
        self._known, left_alone = await asyncio.to_thread(lambda: (providers(), open_breakers()))
        limits = {each.provider: each for each in limiter_states()}
        alone: dict[str, list[OpenBreaker]] = defaultdict(list)
        for each in left_alone:
            alone[each.model.partition(":")[0]].append(each)
        self._table.show(
            [_row(each, alone[name], limits.get(name)) for name, each in self._known.items()]
        )
        chosen = self._known.get(self._table.selected)
        said = (
            "" if chosen is None else _detail(chosen, alone[chosen.name], limits.get(chosen.name))
        )
        if said != self._detail.value:
            self._detail.value = said

    def close(self) -> None:
        """Lets go of the providers."""
        self._known = {}

    def _chosen(self, name: str) -> None:
        provider = self._known.get(name)
        if provider is not None and provider.example:
            self._name.value = provider.example
        self._host.refresh()

    def _begin(self) -> None:
        named = self._name.value.strip()

        async def begin() -> None:
            if not named:
                raise ConfigurationError(
                    "no model is named", remedy="write provider:model, or choose a provider"
                )
            self._answer.value = f'<div role="status">Asks {html_text(named)} …</div>'
            try:
                pong = await self._work.carry(ping(named))
            except Stopped:
                self._answer.value = (
                    f'<div role="status">The ping of {html_text(named)} was stopped.</div>'
                )
            except AofError as error:
                self._answer.value = _failed(named, error)
            except BaseException:
                self._answer.value = ""
                raise
            else:
                self._answer.value = _answered(named, pong)
            self._host.refresh()

        self._host.start(begin)


def _row(
    provider: Provider, left_alone: Sequence[OpenBreaker], limiter: LimiterState | None
) -> TableRow:
    needs = needs_of(provider)
    missing = {each.missing for each in needs}
    return TableRow(
        id=provider.name,
        cells={
            "provider": provider.name,
            "ready": "✗ no" if True in missing else "? perhaps" if None in missing else "✓ yes",
            "needs": "; ".join(each.said for each in needs),
            "breaker": _left_alone(left_alone),
            "limit": _limited(limiter),
        },
        level="warning" if left_alone else "",
    )


def _left_alone(breakers: Sequence[OpenBreaker]) -> str:
    if not breakers:
        return ""
    return f"⚠ {counted(len(breakers), 'model')}"


def _limited(limiter: LimiterState | None, *, whole: bool = False) -> str:
    if limiter is None:
        return "not used yet" if whole else ""
    limit = limiter.limit
    parts = []
    if limit.requests_per_minute:
        parts.append(f"{limit.requests_per_minute:,}{' requests' if whole else ''}/min")
    if limit.tokens_per_minute:
        parts.append(f"{limit.tokens_per_minute:,} tokens/min")
    if limit.concurrency:
        parts.append(f"{limiter.under_way} of {limit.concurrency} under way")
    return ", ".join(parts) or ("none" if whole else "")


def _detail(
    provider: Provider, left_alone: Sequence[OpenBreaker], limiter: LimiterState | None
) -> str:
    """A provider, with all that is known of it."""
    facts = [("Example", provider.example)]
    facts += [("Needs", each.said) for each in needs_of(provider)]
    facts += [("Left alone", _breaker(each)) for each in left_alone]
    facts.append(("Rate limit in this process", _limited(limiter, whole=True)))
    if limiter is not None and limiter.waiting:
        facts.append(("Waiting", counted(limiter.waiting, "request")))
    if limiter is not None and limiter.next_in > 0:
        facts.append(("Next request", f"in {seconds(limiter.next_in)}"))
    return f"<h3>{html_text(provider.title)}</h3>{markup.facts(facts)}"


def _breaker(breaker: OpenBreaker) -> str:
    """A model that is left alone, and until when."""
    left = max(0.0, breaker.until - time.time())
    until = (
        "one request may try it now"
        if breaker.state is BreakerState.HALF_OPEN
        else f"for {seconds(round(left))}"
    )
    return f"{breaker.model}: {breaker.reason}, {until} (process {breaker.pid})"


def _answered(named: str, pong: Pong) -> str:
    said = truncate(pong.text.strip(), _SAID_CHARS)
    facts = [
        ("Latency", f"{seconds(pong.seconds)}, {seconds(pong.first)} until something came"),
        ("Tokens", tokens(pong.usage)),
        ("Cost", dollars(pong.cost)),
        ("Answered by", pong.model),
        ("It said", said or "nothing that can be read, within the few tokens that it was given"),
    ]
    said = f'<b class="aof-good">✓</b> {html_text(named)} answers.'
    return f'<div role="status">{said}</div>{markup.facts(facts)}'


def _failed(named: str, error: AofError) -> str:
    remedy = f" → {error.remedy}" if error.remedy else ""
    return markup.problem(f"✗ {named} does not answer: {error.message}{remedy}")
