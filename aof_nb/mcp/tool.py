"""An MCP server's tool as a `Tool`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aof_nb.errors import McpError, OutcomeUnknown, ToolError
from aof_nb.events import ToolProgress
from aof_nb.mcp.connection import Connection
from aof_nb.mcp.session import Dropped
from aof_nb.ports import Effect, ToolContext, ToolOutput, ToolSpec
from aof_nb.tool_names import safe_name

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as McpToolDefinition


class McpTool:
    """A tool of a server.

    Args:
        connection: To the server.
        definition: As the server offers it.
    """

    def __init__(self, connection: Connection, definition: McpToolDefinition) -> None:
        self._connection = connection
        self._name = definition.name
        server = connection.spec.name
        self.spec = ToolSpec(
            name=safe_name(f"{server}__{definition.name}"),
            description=definition.description or definition.title or "",
            input_schema=_object_schema(definition.input_schema),
            effect=_effect(definition),
            source=f"mcp:{server}",
        )

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Calls the tool on its server.

        Raises:
            OutcomeUnknown: If the call may have been carried out and no answer came.
            ToolError: If the server says that it cannot be carried out.
        """
        from mcp import MCPError

        timeout = self._connection.spec.timeout
        read = self.spec.effect is Effect.READ

        async def work(client: Client) -> CallToolResult:
            # Each sign of life grants the time anew, which the SDK's own timeout does not.
            async with asyncio.timeout(timeout) as deadline:
                loop = asyncio.get_running_loop()

                async def progressed(
                    progress: float, total: float | None, message: str | None
                ) -> None:
                    deadline.reschedule(loop.time() + timeout)
                    context.emit(ToolProgress(context.call_id, message or "", progress, total))

                return await client.call_tool(self._name, arguments, progress_callback=progressed)

        try:
            result: CallToolResult = await self._connection.ask(work, repeatable=read)
        except MCPError as error:
            raise ToolError(f"{self.spec.name}: {error.message}") from error
        except McpError as error:
            raise ToolError(error.message, remedy=error.remedy) from error
        except Dropped as dropped:
            if dropped.sent and not read:
                raise OutcomeUnknown(
                    f"the connection to {self.spec.source} ended during the call: it may or may "
                    "not have been carried out. Look before you repeat it."
                ) from None
            raise ToolError(f"the connection to {self.spec.source} ended again") from None
        except TimeoutError:
            said = f"{self.spec.source} did not answer within {timeout:g} s"
            if read:
                raise ToolError(said) from None
            raise OutcomeUnknown(
                f"{said}: the call may or may not have been carried out. Look before you repeat it."
            ) from None
        return _output(result)


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", **schema} if "type" not in schema else schema


def _effect(definition: McpToolDefinition) -> Effect:
    hints = definition.annotations
    if hints is None:
        return Effect.WRITE
    if hints.read_only_hint:
        return Effect.READ
    return Effect.DESTRUCTIVE if hints.destructive_hint else Effect.WRITE


def _output(result: CallToolResult) -> ToolOutput:
    texts = [_text(block) for block in result.content]
    data = result.structured_content
    if not texts and data is not None:
        import msgspec

        texts = [msgspec.json.encode(data).decode()]
    return ToolOutput("\n".join(texts), data=data, is_error=bool(result.is_error))


def _text(block: Any) -> str:
    """A content block as text; what is not text is named, with its type and size."""
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type}: {block.mime_type}, {len(block.data) * 3 // 4:,} bytes]"
        case "resource":
            inner = block.resource
            text = getattr(inner, "text", None)
            if text is not None:
                return str(text)
            return f"[resource: {inner.uri}, {inner.mime_type or 'binary'}]"
        case "resource_link":
            return f"[resource: {block.uri}, {block.name}]"
        case _:
            return f"[{block.type}]"
