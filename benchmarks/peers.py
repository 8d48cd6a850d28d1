"""Agent frameworks, streamed as their documentation shows; optional, in an environment apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from benchmarks.contestants import PROMPT, Loop, lookup

PACKAGES = ("langchain", "langchain-openai", "pydantic-ai-slim[openai]", "openai-agents")
INSTALL = f"uv venv .venv-peers && uv pip install --python .venv-peers {' '.join(PACKAGES)} orjson"


async def langchain(url: str, stack: AsyncExitStack) -> Loop:
    """LangChain's `create_agent`, its messages streamed."""
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    async def look(key: str) -> str:
        """Looks a key up."""
        return lookup(key)

    look.__name__ = "lookup"

    async def run(model: str) -> str:
        chat = ChatOpenAI(model=model, base_url=f"{url}/v1", api_key="k", streaming=True)
        agent = create_agent(chat, tools=[look])
        texts = []
        asked = {"messages": [{"role": "user", "content": PROMPT}]}
        limits = {"recursion_limit": 500}
        async for piece, _ in agent.astream(asked, limits, stream_mode="messages"):
            if piece.type == "AIMessageChunk" and isinstance(piece.content, str):
                texts.append(piece.content)
        return "".join(texts)

    return run


async def pydantic_ai(url: str, stack: AsyncExitStack) -> Loop:
    """Pydantic AI's `Agent`, its events streamed."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.usage import UsageLimits

    async def look(key: str) -> str:
        """Looks a key up."""
        return lookup(key)

    look.__name__ = "lookup"
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="k")

    async def run(model: str) -> str:
        agent = Agent(OpenAIChatModel(model, provider=provider), tools=[look])
        texts = []
        limits = UsageLimits(request_limit=None)
        async with agent.iter(PROMPT, usage_limits=limits) as going:
            async for node in going:
                if not Agent.is_model_request_node(node):
                    continue
                async with node.stream(going.ctx) as events:
                    async for event in events:
                        if isinstance(event, PartDeltaEvent):
                            if isinstance(event.delta, TextPartDelta):
                                texts.append(event.delta.content_delta)
                        elif isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                            texts.append(event.part.content)
        return "".join(texts)

    return run


async def openai_agents(url: str, stack: AsyncExitStack) -> Loop:
    """OpenAI's Agents SDK, its raw events streamed; tracing is off."""
    import openai
    from agents import (
        Agent,
        OpenAIChatCompletionsModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )

    set_tracing_disabled(True)
    client = await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k"))

    @function_tool(name_override="lookup")
    async def look(key: str) -> str:
        """Looks a key up."""
        return lookup(key)

    async def run(model: str) -> str:
        chat = OpenAIChatCompletionsModel(model=model, openai_client=client)
        going = Runner.run_streamed(
            Agent(name="bench", model=chat, tools=[look]), PROMPT, max_turns=200
        )
        texts = []
        async for event in going.stream_events():
            raw = event.data if event.type == "raw_response_event" else None
            if raw is not None and raw.type == "response.output_text.delta":
                texts.append(raw.delta)
        return "".join(texts)

    return run


PEERS: dict[str, Callable[[str, AsyncExitStack], Awaitable[Loop]]] = {
    "LangChain": langchain,
    "Pydantic AI": pydantic_ai,
    "OpenAI Agents SDK": openai_agents,
}
