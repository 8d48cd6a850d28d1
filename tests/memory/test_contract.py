"""Every memory keeps the same promises."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aof_nb.errors import ConfigurationError, MemoryConflict, MemoryStoreError
from aof_nb.memory import Memory
from aof_nb.memory.conversation import size
from aof_nb.memory.entries import messages_from
from aof_nb.messages import Message, Thinking, ToolResult
from tests.memory.conversations import Make, exchange, is_valid, said

ODD_NAMES = [
    "",
    ".",
    "..",
    "../../etc",
    "a/b\\c",
    "inc-42",
    "INC-42",
    "Inc-42",
    "~",
    "~5ec1f7e7",
    "%2F",
    "/",
    "a\nb\x00c",
    "déjà vu 🙂",
    "x" * 1_000,
    "x" * 1_001,
    "{a}:b:c",
    "a.jsonl",
]


async def test_it_is_a_memory(make: Make) -> None:
    assert isinstance(make(), Memory)


async def test_a_conversation_comes_back_as_it_was(make: Make) -> None:
    memory = make()
    thinking = Thinking("hm", "anthropic", {"type": "thinking", "signature": "s=="})
    first = [Message.user("déjà vu 🙂\n\x00"), Message("assistant", (thinking,), model="m")]
    await memory.append("inc/42", first)
    await memory.append("inc/42", exchange(1))
    assert await memory.load("inc/42") == [*first, *exchange(1)]
    assert await memory.load("other") == []
    assert await memory.sessions() == ["inc/42"]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 8, 9, 11, 12, 13, 1_000])
async def test_a_limit_keeps_whole_exchanges(make: Make, limit: int) -> None:
    memory = make()
    await memory.append("s", [*exchange(1), *exchange(2), *exchange(3)])
    loaded = await memory.load("s", limit=limit)
    assert said(loaded) == [f"question {n}" for n in (1, 2, 3)][-max(1, limit // 4) :]
    assert is_valid(loaded)
    assert loaded.version == (await memory.load("s")).version


async def test_a_limit_in_a_long_conversation(make: Make) -> None:
    memory = make()
    for n in range(150):
        await memory.append("s", exchange(n, output=f"{n} " * 60))
    long = [Message.user("long"), *[Message.assistant(f"part {n}") for n in range(500)]]
    await memory.append("s", long)
    assert await memory.load("s", limit=10) == long
    await memory.append("s", exchange(1))
    assert await memory.load("s", limit=500) == exchange(1)
    assert await memory.load("s", limit=505) == [*long, *exchange(1)]
    assert said(await memory.load("s")) == [
        *[f"question {n}" for n in range(150)],
        "long",
        "question 1",
    ]


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_names_of_all_kinds(make: Make, name: str) -> None:
    memory = make()
    await memory.append(name, exchange(1))
    await memory.set_fact(name, name, name)
    assert await memory.sessions() == [name]
    assert await memory.load(name) == exchange(1)
    assert await memory.namespaces() == [name]
    assert [(fact.key, fact.value) for fact in await memory.facts(name)] == [(name, name)]
    await memory.delete(name)
    await memory.delete_fact(name, name)
    assert await memory.sessions() == await memory.namespaces() == []


async def test_odd_names_are_not_taken_for_one_another(make: Make) -> None:
    memory = make()
    for n, name in enumerate(ODD_NAMES):
        await memory.append(name, exchange(n))
        await memory.set_fact(name, "n", n)
        await memory.set_fact("all", name, n)
    assert await memory.sessions() == sorted(ODD_NAMES)
    for n, name in enumerate(ODD_NAMES):
        assert await memory.load(name) == exchange(n)
        assert [fact.value for fact in await memory.facts(name)] == [n]
    assert {fact.key: fact.value for fact in await memory.facts("all")} == {
        name: n for n, name in enumerate(ODD_NAMES)
    }


@pytest.mark.parametrize("name", ["half a character: \udce9"])
async def test_what_cannot_be_a_name(make: Make, name: str) -> None:
    memory = make()
    for attempt in (
        memory.append(name, exchange(1)),
        memory.set_fact(name, "k", 1),
        memory.set_fact("n", name, 1),
    ):
        with pytest.raises(MemoryStoreError, match="cannot name"):
            await attempt


async def test_what_cannot_be_written_leaves_the_session_as_it_was(make: Make) -> None:
    memory = make()
    bad = [Message.user("fine"), Message.user("half a character: \udce9")]
    with pytest.raises(MemoryStoreError):
        await memory.append("new", bad)
    assert await memory.sessions() == []
    await memory.append("s", exchange(1))
    with pytest.raises(MemoryStoreError):
        await memory.append("s", bad)
    assert await memory.load("s") == exchange(1)


async def test_nothing_appended_is_nothing_changed(make: Make) -> None:
    memory = make()
    assert await memory.append("s", []) == ""
    assert await memory.sessions() == []
    version = await memory.append("s", exchange(1))
    assert await memory.append("s", []) == version
    with pytest.raises(MemoryConflict):
        await memory.append("s", [], expected="")


async def test_appends_at_the_same_time_are_all_kept(make: Make) -> None:
    memory = make()
    await asyncio.gather(*(memory.append("s", exchange(n)) for n in range(50)))
    kept = await memory.load("s")
    assert sorted(said(kept)) == sorted(f"question {n}" for n in range(50))
    assert is_valid(kept)
    assert len(kept) == 200


async def test_a_writer_that_has_not_seen_the_last_message_is_told(make: Make) -> None:
    memory = make()
    first = await memory.append("s", exchange(1), expected="")
    assert (await memory.load("s")).version == first
    second = await memory.append("s", exchange(2), expected=first)
    assert second != first
    for stale in (first, "", "nonsense"):
        with pytest.raises(MemoryConflict) as caught:
            await memory.append("s", exchange(3), expected=stale)
        assert (caught.value.expected, caught.value.found) == (stale, second)
        assert caught.value.remedy
    assert await memory.load("s") == [*exchange(1), *exchange(2)]
    assert (await memory.load("s", limit=1)).version == second


async def test_a_session_that_was_begun_anew_is_another_one(make: Make) -> None:
    memory = make()
    version = await memory.append("s", exchange(1))
    await memory.delete("s")
    with pytest.raises(MemoryConflict):
        await memory.append("s", exchange(2), expected=version)
    assert await memory.sessions() == []
    await memory.append("s", exchange(2))
    with pytest.raises(MemoryConflict):
        await memory.append("s", exchange(3), expected=version)


async def test_writers_that_try_again_lose_nothing(make: Make) -> None:
    memory = make()

    async def count_up() -> None:
        for _ in range(10):
            while True:
                seen = await memory.load("s")
                try:
                    await memory.append("s", [Message.user(str(len(seen)))], expected=seen.version)
                except MemoryConflict:
                    continue
                break

    await asyncio.gather(*(count_up() for _ in range(4)))
    assert said(await memory.load("s")) == [str(n) for n in range(40)]


async def test_what_is_known_of_a_session(make: Make) -> None:
    memory = make()
    assert await memory.info("s") is None
    begun = datetime.now(UTC) - timedelta(seconds=1)
    await memory.append("s", exchange(1))
    await memory.append("s", exchange(2))
    info = await memory.info("s")
    assert info is not None
    assert (info.session, info.messages) == ("s", 8)
    assert info.version == (await memory.load("s")).version
    assert sum(map(size, exchange(1))) * 2 < info.size < sum(map(size, exchange(1))) * 4
    assert begun < info.created <= info.updated < datetime.now(UTC) + timedelta(seconds=1)


async def test_an_export_is_json_lines_that_can_be_read_back(make: Make) -> None:
    memory = make()
    assert await memory.export("s") == ""
    await memory.append("s", exchange(1))
    await memory.append("s", exchange(2, output="two\nlines\u2028and more"))
    text = await memory.export("s")
    head, *lines = [json.loads(line) for line in text.rstrip("\n").split("\n")]
    assert head["session"] == "s"
    assert [line["n"] for line in lines] == list(range(1, 9))
    assert lines[0]["message"]["parts"] == [{"type": "text", "text": "question 1"}]
    assert messages_from(text) == await memory.load("s")


async def test_delete_deletes(make: Make) -> None:
    memory = make()
    await memory.append("a", exchange(1))
    await memory.append("b", exchange(2))
    await memory.delete("a")
    await memory.delete("never there")
    assert await memory.load("a") == []
    assert await memory.info("a") is None
    assert await memory.export("a") == ""
    assert await memory.sessions() == ["b"]
    await memory.append("a", exchange(3))
    assert await memory.load("a") == exchange(3)


async def test_a_session_stays_within_its_size(make: Make) -> None:
    memory = make(max_session_bytes=5_000)
    for n in range(60):
        await memory.append("s", exchange(n))
        kept = await memory.load("s")
        assert kept[-4:] == exchange(n)
        assert sum(map(size, kept)) <= 5_000
        assert is_valid(kept)
    assert len(kept) > 8


async def test_the_oldest_outputs_go_first(make: Make) -> None:
    memory = make(max_session_bytes=20_000)
    for n in range(8):
        await memory.append("s", exchange(n, output=f"{n}\n" * 1_500))
    kept = await memory.load("s")
    assert said(kept) == [f"question {n}" for n in range(8)], "nobody's words are gone"
    lengths = [len(each.tool_results[0].content) for each in kept if each.role == "tool"]
    assert lengths == sorted(lengths)
    assert lengths[0] < 500
    assert lengths[-1] == 3_000
    assert "left out" in kept[2].tool_results[0].content


async def test_one_huge_output_is_shortened_and_not_lost(make: Make) -> None:
    memory = make(max_session_bytes=5_000)
    await memory.append("s", exchange(1, output="x" * 100_000))
    kept = await memory.load("s")
    assert sum(map(size, kept)) <= 5_000
    assert is_valid(kept)
    assert "left out" in kept[2].tool_results[0].content


async def test_versions_go_on_when_a_session_is_shortened(make: Make) -> None:
    memory = make(max_session_bytes=3_000)
    version = ""
    for n in range(30):
        version = await memory.append("s", exchange(n), expected=version)
    assert (await memory.load("s")).version == version
    info = await memory.info("s")
    assert info is not None
    assert info.messages == len(await memory.load("s")) < 30
    assert info.size <= 3_000


async def test_writers_at_the_same_time_stay_within_the_size(make: Make) -> None:
    memory = make(max_session_bytes=6_000)
    await asyncio.gather(*(memory.append("s", exchange(n, output="o" * 900)) for n in range(40)))
    kept = await memory.load("s")
    assert sum(map(size, kept)) <= 6_000
    assert is_valid(kept)
    assert len(set(said(kept))) == len(said(kept)) > 3


async def test_sessions_expire(make: Make) -> None:
    memory = make(ttl=0.4)
    await memory.append("s", exchange(1))
    await memory.append("kept", exchange(1))
    assert await memory.load("s") == exchange(1)
    await asyncio.sleep(0.25)
    await memory.append("kept", exchange(2))
    await asyncio.sleep(0.25)
    assert await memory.load("s") == []
    assert await memory.info("s") is None
    assert await memory.sessions() == ["kept"]
    assert await memory.load("kept") == [*exchange(1), *exchange(2)], (
        "it is the last one that counts"
    )
    version = await memory.append("s", exchange(2), expected="")
    assert await memory.load("s") == exchange(2)
    assert (await memory.load("s")).version == version


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "", "text\n", [], {}, {"a": [1, {"b": None}]}, 2**60, "🙂"]
)
async def test_a_fact_comes_back_as_it_was(make: Make, value: Any) -> None:
    memory = make()
    version = await memory.set_fact("shop", "owner", value)
    fact = await memory.get_fact("shop", "owner")
    assert fact is not None
    assert (fact.key, fact.value, fact.version, fact.expires) == ("owner", value, version, None)
    assert type(fact.value) is type(value)


async def test_facts_have_namespaces(make: Make) -> None:
    memory = make()
    await memory.set_fact("a", "k", 1)
    await memory.set_fact("b", "k", 2)
    await memory.set_fact("a", "j", 3)
    await memory.set_fact("a", "k", 4)
    assert await memory.namespaces() == ["a", "b"]
    assert [(fact.key, fact.value) for fact in await memory.facts("a")] == [("j", 3), ("k", 4)]
    assert await memory.get_fact("b", "j") is None
    assert await memory.facts("c") == []
    await memory.delete_fact("b", "k")
    await memory.delete_fact("b", "k")
    await memory.delete_fact("c", "k")
    assert await memory.namespaces() == ["a"]
    assert await memory.sessions() == []


async def test_facts_expire(make: Make) -> None:
    memory = make()
    await memory.set_fact("a", "short", 1, ttl=0.2)
    await memory.set_fact("a", "long", 2, ttl=60)
    await memory.set_fact("b", "short", 1, ttl=0.2)
    await memory.set_fact("a", "kept", 1, ttl=0.2)
    await memory.set_fact("a", "kept", 3)
    short = await memory.get_fact("a", "short")
    assert short is not None
    assert short.expires is not None
    assert abs(short.expires - datetime.now(UTC)) < timedelta(seconds=5)
    await asyncio.sleep(0.3)
    assert await memory.get_fact("a", "short") is None
    assert [fact.key for fact in await memory.facts("a")] == ["kept", "long"]
    assert await memory.namespaces() == ["a"]
    await memory.set_fact("a", "short", 4, expected="")
    assert (await memory.get_fact("a", "short")).value == 4  # type: ignore[union-attr]


async def test_a_fact_that_was_changed_meanwhile(make: Make) -> None:
    memory = make()
    first = await memory.set_fact("a", "k", 1, expected="")
    second = await memory.set_fact("a", "k", 1, expected=first)
    assert second != first
    for stale in (first, ""):
        with pytest.raises(MemoryConflict, match="fact 'k' of 'a'"):
            await memory.set_fact("a", "k", 2, expected=stale)
    await memory.delete_fact("a", "k")
    with pytest.raises(MemoryConflict):
        await memory.set_fact("a", "k", 2, expected=second)
    assert await memory.namespaces() == []


async def test_counting_up_loses_no_step(make: Make) -> None:
    memory = make()

    async def count_up() -> None:
        for _ in range(10):
            while True:
                fact = await memory.get_fact("a", "count")
                value, version = (fact.value, fact.version) if fact else (0, "")
                try:
                    await memory.set_fact("a", "count", value + 1, expected=version)
                except MemoryConflict:
                    continue
                break

    await asyncio.gather(*(count_up() for _ in range(4)))
    fact = await memory.get_fact("a", "count")
    assert fact is not None
    assert fact.value == 40


@pytest.mark.parametrize("value", [object(), {1: lambda: 0}, "\udce9"])
async def test_what_is_no_fact(make: Make, value: Any) -> None:
    memory = make()
    await memory.set_fact("a", "k", 1)
    with pytest.raises(MemoryStoreError, match="fact 'k' of 'a' cannot be kept"):
        await memory.set_fact("a", "k", value)
    assert [fact.value for fact in await memory.facts("a")] == [1]


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
async def test_what_is_no_time_to_live(make: Make, ttl: float) -> None:
    with pytest.raises(ConfigurationError, match="ttl"):
        make(ttl=ttl)
    with pytest.raises(ConfigurationError, match="ttl"):
        await make().set_fact("a", "k", 1, ttl=ttl)


async def test_a_value_that_is_changed_by_its_reader_stays_as_it_was(make: Make) -> None:
    memory = make()
    given = {"list": [1]}
    await memory.set_fact("a", "k", given)
    given["list"].append(2)
    fact = await memory.get_fact("a", "k")
    assert fact is not None
    fact.value["list"].append(3)
    again = await memory.get_fact("a", "k")
    assert again is not None
    assert again.value == {"list": [1]}
    loaded = await memory.load("s")
    loaded.append(Message.user("x"))
    assert await memory.load("s") == []


async def test_it_may_be_used_from_several_event_loops(make: Make) -> None:
    memory = make()

    def appended(n: int) -> None:
        asyncio.run(memory.append("s", exchange(n)))

    await asyncio.gather(*(asyncio.to_thread(appended, n) for n in range(10)))
    await memory.append("s", exchange(10))
    kept = await memory.load("s")
    assert sorted(said(kept)) == sorted(f"question {n}" for n in range(11))
    assert is_valid(kept)


async def test_a_cancelled_append_is_whole_or_not_there(make: Make) -> None:
    memory = make()
    for n in range(30):
        task = asyncio.create_task(memory.append("s", exchange(n, output="o" * 50_000)))
        await asyncio.sleep(0.0003 * (n % 10))
        task.cancel()
        await asyncio.wait([task])
    await memory.append("s", exchange(99))
    kept = await memory.load("s")
    assert is_valid(kept)
    assert kept[-4:] == exchange(99)
    assert len(kept) % 4 == 0
    assert kept.damaged == ()


async def test_a_result_that_is_kept_elsewhere_says_where(make: Make) -> None:
    memory = make(max_session_bytes=3_000)
    asked = exchange(1)
    asked[2] = Message("tool", (ToolResult("c1", "look", "x" * 10_000, artifact="runs/1/c1"),))
    await memory.append("s", asked)
    assert "runs/1/c1" in (await memory.load("s"))[2].tool_results[0].content
