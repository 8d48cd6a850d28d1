"""What servers offer besides tools: resources and prompts; and how long they take to answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.mcp.pool import McpPool
from aof_nb.mcp.spec import McpServer
from aof_nb.mcp.tool import block_text, byte_count

if TYPE_CHECKING:
    from mcp import Client

_MOST_PAGES = 100


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be read on a server.

    Args:
        uri: What it is read by; for a template, with names in braces that are to be filled in.
        name: What it is called.
        description: What it is, in the server's words.
        mime_type: Its type, if the server tells.
        size: Bytes, if the server tells.
        template: Whether its URI is to be filled in first.
    """

    uri: str
    name: str
    description: str = ""
    mime_type: str = ""
    size: int | None = None
    template: bool = False


class PromptArgument(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt is filled in with.

    Args:
        name: What it is called.
        description: What it is, in the server's words.
        required: Whether it must be given.
    """

    name: str
    description: str = ""
    required: bool = False


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that a server has prepared.

    Args:
        name: What it is called.
        description: What it is for, in the server's words.
        arguments: What it is filled in with.
    """

    name: str
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of its arguments, which are all texts."""
        return {
            "type": "object",
            "properties": {
                each.name: {
                    "type": "string",
                    "description": each.description,
                    "minLength": 1 if each.required else 0,
                }
                for each in self.arguments
            },
            "required": [each.name for each in self.arguments if each.required],
        }


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a resource that was read, or of a prompt.

    Args:
        title: Its URI, or who says it.
        text: What it says; of what is no text, its type and size.
        mime_type: Its type, if the server tells.
    """

    title: str
    text: str
    mime_type: str = ""


async def ping(pool: McpPool, server: McpServer) -> float:
    """How long a server takes to answer, in seconds; it is started if it is not connected.

    Raises:
        McpError: If it does not answer.
    """

    async def work(client: Client) -> float:
        from mcp import MCPError
        from mcp_types import METHOD_NOT_FOUND
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        begun = time.monotonic()
        if client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            # There is no ping any more.
            await client.list_tools(cache_mode="bypass")
        else:
            try:
                await client.session.send_ping()
            except MCPError as error:
                # One that does not know the word has answered all the same.
                if error.code != METHOD_NOT_FOUND:
                    raise
        return time.monotonic() - begun

    took: float = await pool.ask(server, work)
    return took


async def resources(pool: McpPool, server: McpServer) -> list[Resource]:
    """What can be read on a server, templates at the end; none if it offers no resources.

    Raises:
        McpError: If it does not answer.
    """

    async def work(client: Client) -> list[Resource]:
        if client.server_capabilities.resources is None:
            return []
        found: list[Resource] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await client.list_resources(cursor=cursor)
            found += [
                Resource(
                    uri=each.uri,
                    name=each.title or each.name,
                    description=each.description or "",
                    mime_type=each.mime_type or "",
                    size=each.size,
                )
                for each in page.resources
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found + await _templates(client)

    found: list[Resource] = await pool.ask(server, work)
    return found


async def _templates(client: Client) -> list[Resource]:
    from mcp import MCPError
    from mcp_types import METHOD_NOT_FOUND

    found: list[Resource] = []
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        try:
            page = await client.list_resource_templates(cursor=cursor)
        except MCPError as error:
            # A server that has resources need not have templates.
            if error.code == METHOD_NOT_FOUND:
                break
            raise
        found += [
            Resource(
                uri=each.uri_template,
                name=each.title or each.name,
                description=each.description or "",
                mime_type=each.mime_type or "",
                template=True,
            )
            for each in page.resource_templates
        ]
        cursor = page.next_cursor
        if cursor is None:
            break
    return found


async def prompts(pool: McpPool, server: McpServer) -> list[Prompt]:
    """The prompts of a server; none if it offers no prompts.

    Raises:
        McpError: If it does not answer.
    """

    async def work(client: Client) -> list[Prompt]:
        if client.server_capabilities.prompts is None:
            return []
        found: list[Prompt] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await client.list_prompts(cursor=cursor)
            found += [
                Prompt(
                    name=each.name,
                    description=each.description or each.title or "",
                    arguments=tuple(
                        PromptArgument(
                            name=argument.name,
                            description=argument.description or "",
                            required=bool(argument.required),
                        )
                        for argument in each.arguments or ()
                    ),
                )
                for each in page.prompts
            ]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    found: list[Prompt] = await pool.ask(server, work)
    return found


async def read_resource(pool: McpPool, server: McpServer, uri: str) -> list[Part]:
    """Reads a resource.

    Args:
        pool: Of connections.
        server: Whose it is.
        uri: Which.

    Raises:
        McpError: If there is none, or the server does not answer.
    """

    async def work(client: Client) -> list[Part]:
        read = await client.read_resource(uri)
        return [_content(each) for each in read.contents]

    parts: list[Part] = await pool.ask(server, work)
    return parts


async def get_prompt(
    pool: McpPool, server: McpServer, name: str, arguments: Mapping[str, str]
) -> list[Part]:
    """A prompt, filled in.

    Args:
        pool: Of connections.
        server: Whose it is.
        name: Which.
        arguments: What it is filled in with.

    Raises:
        McpError: If there is none, arguments are missing, or the server does not answer.
    """

    async def work(client: Client) -> list[Part]:
        prompt = await client.get_prompt(name, dict(arguments))
        return [_said(each.role, each.content) for each in prompt.messages]

    parts: list[Part] = await pool.ask(server, work)
    return parts


def _content(content: Any) -> Part:
    text = getattr(content, "text", None)
    mime_type = content.mime_type or ""
    if text is None:
        text = f"[{mime_type or 'binary'}, {byte_count(content.blob)}]"
    return Part(title=str(content.uri), text=text, mime_type=mime_type)


def _said(role: str, block: Any) -> Part:
    if block.type == "resource":
        part = _content(block.resource)
        return msgspec.structs.replace(part, title=f"{role}: {part.title}")
    return Part(title=role, text=block_text(block))
