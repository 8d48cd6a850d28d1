"""Providers to test against: servers that speak the real wire protocols on loopback.

`FakeAnthropic`, `FakeBedrock` and `FakeOpenAI` answer from a script of `Reply` and `Failure`,
refuse requests the real API would refuse, record what they got, and send their bytes as a test
wants them: split, slowed, stalled or cut anywhere. The encoders (`anthropic_events`,
`bedrock_events`, `openai_chat_chunks`, `openai_responses_events`) are pure functions, for feeding a
decoder directly; `odd` has streams that real servers were seen to send. Nothing here imports
aof_nb: what it says about a wire format must not come from the code under test.
"""

from tests.fakes.bedrock import bedrock_events, bedrock_frames
from tests.fakes.bedrock_provider import FakeBedrock
from tests.fakes.chat_completions import (
    AZURE,
    DEEPSEEK,
    MISTRAL,
    OPENAI,
    OPENROUTER,
    VLLM,
    Dialect,
    openai_chat_chunks,
    openai_chat_frames,
)
from tests.fakes.http_server import Request
from tests.fakes.messages_api import anthropic_events, anthropic_frames
from tests.fakes.providers import FakeAnthropic, FakeOpenAI, Raw
from tests.fakes.reply import (
    Failure,
    RedactedThinking,
    Refusal,
    Reply,
    ServerTool,
    StreamError,
    Text,
    Thinking,
    ToolCall,
    Usage,
    Wire,
)
from tests.fakes.responses_api import openai_responses_events, openai_responses_frames

__all__ = [
    "AZURE",
    "DEEPSEEK",
    "MISTRAL",
    "OPENAI",
    "OPENROUTER",
    "VLLM",
    "Dialect",
    "Failure",
    "FakeAnthropic",
    "FakeBedrock",
    "FakeOpenAI",
    "Raw",
    "RedactedThinking",
    "Refusal",
    "Reply",
    "Request",
    "ServerTool",
    "StreamError",
    "Text",
    "Thinking",
    "ToolCall",
    "Usage",
    "Wire",
    "anthropic_events",
    "anthropic_frames",
    "bedrock_events",
    "bedrock_frames",
    "openai_chat_chunks",
    "openai_chat_frames",
    "openai_responses_events",
    "openai_responses_frames",
]
