"""``aofctl memory``: what a memory holds, to look at, take along and delete."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import typer

from aof_nb.cli.ending import ExitCode, complain, reported, run_to_end, usage_error
from aof_nb.cli.listing import OutputOption, print_table

if TYPE_CHECKING:
    from aof_nb.memory import Memory

app = typer.Typer(
    name="memory",
    help="Shows, exports and deletes conversations and facts.",
    no_args_is_help=True,
)

MemoryOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--memory", metavar="URL", help="Which memory: file:PATH, disk, disk:PATH, redis://..."
    ),
]
Session: TypeAlias = Annotated[str, typer.Argument(help="The session's name.")]

_LONGEST_PART = 2_000


@app.command(name="list")
def list_sessions(*, memory: MemoryOption = "disk", output: OutputOption = "text") -> None:
    """Shows the sessions of a memory."""

    async def work(store: Memory) -> ExitCode:
        found = [await store.info(session) for session in await store.sessions()]
        rows = [
            (
                each.session,
                each.messages,
                each.size,
                each.updated.astimezone().isoformat(" ", "seconds"),
            )
            for each in found
            if each is not None
        ]
        if output == "text":
            texts = [(name, f"{count:,}", f"{size:,}", at) for name, count, size, at in rows]
            columns = ("session", "messages", "bytes", "last message")
            print_table(columns, texts, output, numbers=("messages", "bytes"))
        else:
            print_table(("session", "messages", "bytes", "updated"), rows, output)
        return ExitCode.DONE

    _with(memory, work)


@app.command()
def show(
    session: Session,
    *,
    memory: MemoryOption = "disk",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the newest messages.")
    ] = None,
) -> None:
    """Shows a conversation."""

    async def work(store: Memory) -> ExitCode:
        from aof_nb.models.compaction import as_text

        conversation = await store.load(session, limit=limit)
        for each in conversation.damaged:
            complain(each)
        if not conversation:
            return _no_session(session)
        typer.echo(as_text(tuple(conversation), _LONGEST_PART))
        return ExitCode.DONE

    _with(memory, work)


@app.command()
def export(
    session: Session,
    *,
    memory: MemoryOption = "disk",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; standard output if not given.")
    ] = None,
) -> None:
    """Writes a conversation as JSON lines: a header, then a line a message."""

    async def work(store: Memory) -> ExitCode:
        text = await store.export(session)
        if not text:
            return _no_session(session)
        if output is None:
            typer.echo(text, nl=False)
        else:
            output.touch(mode=0o600)
            output.write_text(text, encoding="utf-8")
        return ExitCode.DONE

    _with(memory, work)


@app.command(name="import")
def import_session(
    file: Annotated[Path, typer.Argument(help="What `export` has written.", exists=True)],
    session: Session,
    *,
    memory: MemoryOption = "disk",
) -> None:
    """Adds an exported conversation to the end of a session, which need not exist yet."""

    async def work(store: Memory) -> ExitCode:
        from aof_nb.memory.entries import messages_from

        messages = messages_from(file.read_text(encoding="utf-8"))
        await store.append(session, messages)
        return ExitCode.DONE

    _with(memory, work)


@app.command()
def delete(
    sessions: Annotated[list[str], typer.Argument(help="Their names.", metavar="SESSION...")],
    *,
    memory: MemoryOption = "disk",
) -> None:
    """Deletes conversations for good."""

    async def work(store: Memory) -> ExitCode:
        code = ExitCode.DONE
        for session in sessions:
            if await store.info(session) is None:
                code = _no_session(session)
            await store.delete(session)
        return code

    _with(memory, work)


@app.command()
def facts(
    namespace: Annotated[str | None, typer.Argument(help="Whose; all if not given.")] = None,
    *,
    memory: MemoryOption = "disk",
    output: OutputOption = "text",
) -> None:
    """Shows the facts of a memory."""

    async def work(store: Memory) -> ExitCode:
        import json

        spaces = await store.namespaces() if namespace is None else [namespace]
        rows = [
            (
                space,
                fact.key,
                json.dumps(fact.value, ensure_ascii=False) if output == "text" else fact.value,
                fact.expires.astimezone().isoformat(" ", "seconds") if fact.expires else "",
            )
            for space in spaces
            for fact in await store.facts(space)
        ]
        print_table(("namespace", "key", "value", "expires"), rows, output)
        return ExitCode.DONE

    _with(memory, work)


def _with(url: str, work: Callable[[Memory], Coroutine[Any, Any, ExitCode]]) -> NoReturn:
    from aof_nb.errors import ConfigurationError
    from aof_nb.memory import open_memory

    try:
        store = open_memory(url)
    except ConfigurationError as error:
        usage_error(error.message, error.remedy)
    with reported():
        run_to_end(lambda: work(store))


def _no_session(session: str) -> ExitCode:
    complain(f"there is no session {session!r}", "aofctl memory list shows those there are")
    return ExitCode.FAILED
