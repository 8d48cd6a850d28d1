"""Where conversations are kept, in all the ways AOF writes it."""

from __future__ import annotations

import pytest

from aof_nb.errors import ResourceError
from aof_nb.resources import agent_from_yaml


@pytest.mark.parametrize(
    ("written", "memory", "messages"),
    [
        ("", None, None),
        ("InMemory", "in_memory", None),
        ("in_memory", "in_memory", None),
        ("disk", "disk", None),
        ("disk:/srv/talks", "disk:/srv/talks", None),
        ("{type: disk, path: /srv/talks}", "disk:/srv/talks", None),
        ("{url: disk, max_messages: 30}", "disk", 30),
        ("{type: conversation, max_messages: 30}", "in_memory", 30),
        ("{type: InMemory, config: {max_messages: 7}}", "in_memory", 7),
        ("{enabled: false, persistence: redis}", None, None),
    ],
)
def test_a_memory(
    written: str, memory: str | None, messages: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_from_yaml(f"model: openai:gpt-5\nmemory: {written}\n")
    assert (agent.memory, agent.max_context_messages) == (memory, messages)
    assert not caplog.records


@pytest.mark.parametrize(
    ("written", "memory", "said"),
    [
        ("'File:./talks.json:100'", "disk:./talks", "kept as disk:./talks here"),
        ("{type: File, config: {path: ./talks.json}}", "disk:./talks", "kept as disk:./talks"),
        ("{enabled: true, persistence: redis}", "in_memory", "'redis' is not supported yet"),
        ("sqlite:x.db", "in_memory", "'sqlite:x.db' is not supported yet"),
        ("{type: disk, ttl: 60}", "disk", "ttl has no effect"),
    ],
)
def test_a_memory_that_is_not_quite_kept_so(
    written: str, memory: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agent_from_yaml(f"model: openai:gpt-5\nmemory: {written}\n")
    assert agent.memory == memory
    [record] = caplog.records
    assert record.getMessage().startswith("<cell>:2: memory")
    assert said in record.getMessage()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{typ: disk}", "<cell>:2: memory.typ: unknown field 'typ'"),
        ("3", "<cell>:2: memory: memory is a mapping, not 3"),
        ("{type: disk, max_messages: 0}", "<cell>:2: memory.max_messages: input should be greater"),
    ],
)
def test_what_is_no_memory(written: str, said: str) -> None:
    with pytest.raises(ResourceError) as caught:
        agent_from_yaml(f"model: m:m\nmemory: {written}\n")
    assert str(caught.value).startswith(said)


def test_the_agents_own_bound_wins() -> None:
    agent = agent_from_yaml("model: m:m\nmax_context_messages: 5\nmemory: {max_messages: 9}\n")
    assert agent.max_context_messages == 5
