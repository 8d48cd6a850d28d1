"""Sources for the cells of notebooks: a scripted model, and agents that it drives."""

TURNS = '''\
import asyncio
from aof_nb.events import ModelResponse, TextDelta
from aof_nb.messages import Message, StopReason, Text, ToolCall, Usage

class Turns:
    """Says words, one each 20 ms, and makes calls."""
    name = "turns (scripted)"
    usage = Usage()
    def __init__(self, *turns):
        self.turns = turns
    async def stream(self, request):
        turn = self.turns[sum(m.role == "assistant" for m in request.messages)]
        parts = []
        for part in turn:
            if isinstance(part, str):
                parts.append(Text(part))
                for word in part.split(" "):
                    yield TextDelta(word + " ")
                    await asyncio.sleep(0.02)
            else:
                parts.append(part)
        calls = any(isinstance(part, ToolCall) for part in parts)
        reason = StopReason.TOOL_USE if calls else StopReason.END_TURN
        yield ModelResponse(Message("assistant", tuple(parts)), reason, self.usage, self.name)
'''

SETUP = (
    "%load_ext aof_nb\nimport json\n"
    + TURNS
    + '''
from aof_nb import Agent, tool

restarted = []

@tool
def restart(service: str) -> str:
    """Restarts a service."""
    restarted.append(service)
    return f"{service} restarted"

@tool(effect="read")
async def watch(service: str) -> str:
    """Watches a service."""
    await asyncio.sleep(600)

def mender(name):
    call = ToolCall("c1", "restart", {"service": name})
    end = "It is **up** again. " + "And all is well with it. " * 12
    return Agent(name=name, model=Turns(["Looking.", call], [end]), tools=[restart])

checkout = mender("checkout")
watching = Turns(["I keep an eye on it.", ToolCall("c1", "watch", {"service": "checkout"})])
guard = Agent(name="guard", model=watching, tools=[watch])
'''
)

MEND = "%%aof checkout\nMend it."
