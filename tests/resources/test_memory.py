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
        ("in-memory", "in_memory", None),
        ("redis", "redis", None),
        ("redis://cache:6379/2?prefix=sre", "redis://cache:6379/2?prefix=sre", None),
        ("{enabled: true, persistence: redis, ttl: 604800}", "redis?ttl=604800", None),
        ("{type: redis, url: 'rediss://cache/0', ttl: 1h}", "rediss://cache/0?ttl=3600", None),
        (
            "{type: redis, config: {url: 'redis://h?prefix=a', ttl: 90s}}",
            "redis://h?prefix=a&ttl=90",
            None,
        ),
        ("file", "file", None),
        ("file:/srv/talks", "file:/srv/talks", None),
        ("'File:./talks.json:100'", "file:./talks", 100),
        ("'File:./talks.json'", "file:./talks", None),
        ("{type: File, config: {path: ./talks.json, max_messages: 5}}", "file:./talks", 5),
        ("{type: file, path: /srv/talks, ttl: 0.5}", "file:/srv/talks?ttl=0.5", None),
        ("{type: disk, ttl: 60}", "disk?ttl=60", None),
        ("{type: InMemory, ttl: 2m}", "in_memory?ttl=120", None),
        ("'redis://:${UNSET_PASSWORD_OF_TEST:-pw}@cache'", "redis://:pw@cache", None),
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
        ("sqlite:x.db", "in_memory", "there is no memory 'sqlite:x.db'"),
        ("{type: shared, max_messages: 3}", "in_memory", "there is no memory 'shared'"),
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
        ("{type: disk, ttl: soon}", "<cell>:2: memory.ttl: not a duration"),
        ("'disk:x?tll=5'", "<cell>:2: memory: the memory 'disk:x?tll=5' has no option 'tll'"),
        ("'redis://h:port'", "<cell>:2: memory: the address of a redis: memory"),
        (
            "'redis://${UNSET_HOST_OF_TEST}'",
            "<cell>:2: memory: the environment variable UNSET_HOST",
        ),
    ],
)
def test_what_is_no_memory(written: str, said: str) -> None:
    with pytest.raises(ResourceError) as caught:
        agent_from_yaml(f"model: m:m\nmemory: {written}\n")
    assert str(caught.value).startswith(said)


def test_the_agents_own_bound_wins() -> None:
    agent = agent_from_yaml("model: m:m\nmax_context_messages: 5\nmemory: {max_messages: 9}\n")
    assert agent.max_context_messages == 5
