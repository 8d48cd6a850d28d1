"""An MCP server's tool as a `Tool`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from aof_nb.errors import McpError, OutcomeUnknown, ToolError
from aof_nb.events import ToolProgress
from aof_nb.mcp.connection import Connection
from aof_nb.mcp.definition import for_models
from aof_nb.mcp.request import Dropped, current
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tool_names import safe_name

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as McpToolDefinition


_NOT_CALLED = "The call was not carried out."


class McpTool:
    """A tool of a server.

    Args:
        connection: To the server.
        definition: As the server offers it.
    """

    def __init__(self, connection: Connection, definition: McpToolDefinition) -> None:
        self._connection = connection
        self._name = definition.name
        self.definition = definition
        self.spec = _spec(connection.spec.name, definition)

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool on its server.

        Raises:
            OutcomeUnknown: If the call may have been carried out and no answer came.
            ToolError: If it could not be carried out, or its answer is not what it should be.
        """
        from mcp import MCPError

        async def work(client: Client) -> CallToolResult:
            request = current.get()
            assert request is not None

            async def progressed(progress: float, total: float | None, message: str | None) -> None:
                request.alive()
                context.emit(ToolProgress(context.call_id, message or "", progress, total))

            return await client.call_tool(self._name, arguments, progress_callback=progressed)

        source, read = self.spec.source, self.spec.effect is Effect.READ
        if self._connection.changed:
            await self._check_definition()
        try:
            result: CallToolResult = await self._connection.ask(work, repeatable=read)
        except MCPError as error:
            raise ToolError(f"{source}: {error.message}") from error
        except McpError as error:
            raise ToolError(error.message, remedy=error.remedy) from error
        except Dropped as dropped:
            raise self._unanswered(f"{source} did not answer: {dropped}", dropped.sent) from None
        except TimeoutError:
            timeout = self._connection.spec.timeout
            raise self._unanswered(f"{source} did not answer within {timeout:g} s", True) from None
        except (RuntimeError, ValueError) as error:
            # The SDK checks an answer against the schemas once the call has been carried out.
            raise ToolError(
                f"{source} has carried it out, but its answer is wrong: {error}"
            ) from error
        return _output(result)

    async def _check_definition(self) -> None:
        """What was allowed, and perhaps approved, is the tool as it was defined then."""
        source = self.spec.source
        try:
            definitions = await self._connection.list_tools()
        except McpError as error:
            raise ToolError(error.message, remedy=error.remedy) from error
        except Exception as error:
            said = str(error) or type(error).__name__
            raise ToolError(f"{source} does not tell its tools: {said}. {_NOT_CALLED}") from error
        server = self._connection.spec.name
        same = any(
            each.name == self._name and _spec(server, each) == self.spec for each in definitions
        )
        if not same:
            raise ToolError(
                f"{source} no longer offers {self._name} as it was when this run began. "
                f"{_NOT_CALLED}"
            )

    def _unanswered(self, said: str, sent: bool) -> ToolError:
        if not sent:
            return ToolError(f"{said}. {_NOT_CALLED}")
        if self.spec.effect is Effect.READ:
            return ToolError(said)
        return OutcomeUnknown(
            f"{said}. It is not known whether the call was carried out: look before you repeat it."
        )


def _spec(server: str, definition: McpToolDefinition) -> ToolSpec:
    return ToolSpec(
        name=safe_name(f"{server}__{definition.name}"),
        description=for_models(definition.description or definition.title or ""),
        input_schema=for_models(definition.input_schema),
        effect=_effect(definition),
        source=f"mcp:{server}",
        sends=None if definition.annotations is None else definition.annotations.open_world_hint,
    )


def _effect(definition: McpToolDefinition) -> Effect:
    hints = definition.annotations
    if hints is None:
        return Effect.WRITE
    if hints.read_only_hint:
        return Effect.READ
    return Effect.DESTRUCTIVE if hints.destructive_hint else Effect.WRITE


def _output(result: CallToolResult) -> ToolOutput:
    texts = [block_text(block) for block in result.content]
    data = result.structured_content
    if data is None and any(block.type != "text" for block in result.content):
        data = {
            "content": [
                block.model_dump(mode="json", by_alias=True, exclude_none=True)
                for block in result.content
            ]
        }
    elif not texts and data is not None:
        texts = [msgspec.json.encode(data).decode()]
    return ToolOutput("\n".join(texts), data=data, is_error=bool(result.is_error))


def block_text(block: Any) -> str:
    """A content block as text; what is not text is named, with its type and size."""
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type}: {block.mime_type}, {byte_count(block.data)}]"
        case "resource":
            inner = block.resource
            text = getattr(inner, "text", None)
            if text is not None:
                return f"[resource: {inner.uri}]\n{text}"
            kind = inner.mime_type or "binary"
            return f"[resource: {inner.uri}, {kind}, {byte_count(inner.blob)}]"
        case "resource_link":
            details = [str(block.uri), block.name, block.mime_type or "", block.description or ""]
            return f"[resource: {', '.join(each for each in details if each)}]"
        case other:
            return f"[{other}]"


def byte_count(base64: str) -> str:
    """How much base64 text stands for, in words."""
    return f"{len(base64.rstrip('=')) * 3 // 4:,} bytes"
