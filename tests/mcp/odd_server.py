"""A stdio MCP server (2025-11-25) that does what well-behaved servers seldom do.

``python odd_server.py DIRECTORY [TOOL-WITH-A-WRONG-SCHEMA...]``. It speaks the wire protocol with
the standard library alone, so that it starts at once, and writes down what it was asked, for the
tests to read:
``DIRECTORY/calls`` has a line for each call it carried out, ``DIRECTORY/pid`` its process,
``DIRECTORY/starts`` a byte for each start, ``DIRECTORY/cancelled`` the ids of requests that were
cancelled. ``DIRECTORY/descriptions`` may say what it describes tools by.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

DIRECTORY = Path(sys.argv[1])
READ = {"readOnlyHint": True}
ANNOTATIONS = {
    "count": {"readOnlyHint": False, "destructiveHint": False},
    "wipe": {"destructiveHint": True},
    "plain": None,
    "sleep": READ,
    "write_and_die": None,
    "read_and_die": READ,
    "die_before_answering_twice": READ,
    "progress": READ,
    "silent": None,
    "learn": None,
    "turn": None,
    "ask": READ,
    "invalid_answer": None,
    "broken_json": READ,
    "environment": READ,
    "fail": None,
}
tools = {name: {"type": "object"} for name in ANNOTATIONS}
lock = threading.Lock()
answers = {}


def note(name, text="x"):
    with (DIRECTORY / name).open("a") as file:
        file.write(f"{text}\n")


def send(message):
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def definition(name, schema):
    found = {"name": name, "description": f"It is {name}.", "inputSchema": schema}
    described = DIRECTORY / "descriptions"
    if described.exists():
        found["description"] = json.loads(described.read_text()).get(name, found["description"])
    if ANNOTATIONS.get(name) is not None:
        found["annotations"] = ANNOTATIONS[name]
    if name == "invalid_answer":
        found["outputSchema"] = {"type": "object", "required": ["must"]}
    return found


def text(said, **more):
    return {"content": [{"type": "text", "text": str(said)}], **more}


def die():
    os.kill(os.getpid(), 9)


def call(request):
    name = request["params"]["name"]
    arguments = request["params"].get("arguments") or {}
    note("calls", name)
    match name:
        case "write_and_die":
            die()
        case "read_and_die":
            if (DIRECTORY / "calls").read_text().split().count(name) == 1:
                die()
            return text("alive again")
        case "die_before_answering_twice":
            die()
        case "sleep":
            time.sleep(arguments["seconds"])
            return text("slept")
        case "silent":
            time.sleep(60)
        case "progress":
            token = request["params"]["_meta"]["progressToken"]
            for step in range(1, arguments["steps"] + 1):
                time.sleep(arguments["seconds"])
                params = {"progressToken": token, "progress": step, "total": arguments["steps"]}
                params["message"] = f"step {step}"
                send({"method": "notifications/progress", "params": params})
            return text("done")
        case "learn":
            tools["learnt"] = {"type": "object"}
            send({"method": "notifications/tools/list_changed"})
            return text("learnt it")
        case "turn":
            tools["plain"] = {"type": "object", "properties": {"force": {"type": "boolean"}}}
            send({"method": "notifications/tools/list_changed"})
            return text("turned")
        case "ask":
            asked = threading.Event()
            answers["ask"] = (asked, reply := [])
            params = {"message": "Which?", "requestedSchema": arguments["schema"]}
            send({"id": "ask", "method": "elicitation/create", "params": params})
            asked.wait(30)
            return text(json.dumps(reply[0]))
        case "invalid_answer":
            return text("{}", structuredContent={})
        case "broken_json":
            with lock:
                print("this is not JSON", flush=True)
            return text("after it")
        case "environment":
            return text(json.dumps({"environment": dict(os.environ), "cwd": os.getcwd()}))
        case "fail":
            return text("it went wrong", isError=True)
    return text(f"{name} done")


def answer(request):
    match request["method"]:
        case "initialize":
            version = request["params"]["protocolVersion"]
            (DIRECTORY / "capabilities").write_text(json.dumps(request["params"]["capabilities"]))
            result = {"protocolVersion": version, "capabilities": {"tools": {"listChanged": True}}}
            result["serverInfo"] = {"name": "odd", "version": "1"}
        case "tools/list":
            note("lists")
            result = {"tools": [definition(*item) for item in tools.items()]}
        case "tools/call":
            result = call(request)
        case method:
            error = {"code": -32601, "message": f"no method {method}"}
            return send({"id": request["id"], "error": error})
    return send({"id": request["id"], "result": result})


def main():
    note("starts")
    (DIRECTORY / "pid").write_text(str(os.getpid()))
    tools.update({name: {"type": "string"} for name in sys.argv[2:]})
    print("odd server at your service", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            note("cancelled", message["params"]["requestId"])
        elif "method" not in message:
            asked, reply = answers.pop(message["id"])
            reply.append(message.get("result") or message.get("error"))
            asked.set()
        elif "id" in message:
            threading.Thread(target=answer, args=(message,), daemon=True).start()


main()
