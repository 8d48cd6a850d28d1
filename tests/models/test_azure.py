"""Azure OpenAI: deployments, keys, Entra tokens, content filters."""

from __future__ import annotations

import json
import sys

import pytest

from aof_nb import errors, resolve_model
from aof_nb.events import ModelResponse
from aof_nb.messages import Message
from aof_nb.ports import Model, ModelRequest
from tests.fakes import Failure, FakeOpenAI, Reply, Usage
from tests.fakes.chat_completions import AZURE
from tests.fakes.http_server import Request
from tests.fakes.rules import InvalidRequestError


class Azure(FakeOpenAI):
    """Deployments, an api-key header or a bearer token, and an api-version."""

    def _admit(self, request: Request) -> None:
        path, _, query = request.path.partition("?")
        if path != "/openai/deployments/mine/chat/completions":
            raise InvalidRequestError("Resource not found", status=404)
        assert "api-version=" in query
        if request.headers.get("api-key") != "k" and "authorization" not in request.headers:
            raise InvalidRequestError("Access denied", status=401)


AZURE_FILTER = {
    "error": {
        "message": "The response was filtered",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {"violence": {"filtered": True, "severity": "high"}},
        },
    }
}


def ask() -> ModelRequest:
    return ModelRequest(messages=(Message.user("why?"),))


async def answer(model: Model, request: ModelRequest) -> ModelResponse:
    last = [event async for event in model.stream(request)][-1]
    assert isinstance(last, ModelResponse)
    return last


async def test_azure_s_filter_chunks_and_error() -> None:
    async with Azure(dialect=AZURE) as fake:
        late = b'data: {"choices":[{"index":0,"content_filter_results":{}}]}\n\n'
        fake.reply(
            Reply("ok", usage=Usage(input=3)), Failure(400, body=json.dumps(AZURE_FILTER).encode())
        )
        address = f"http://127.0.0.1:{fake.port}"
        model = resolve_model("azure:mine", base_url=address, api_key="k")
        assert (await answer(model, ask())).usage.input_tokens == 3
        with pytest.raises(errors.ContentRefused, match="violence"):
            await answer(model, ask())
        whole = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
        fake.reply(late + f"data: {json.dumps(whole)}\n\n".encode())
        assert (await answer(model, ask())).message.text == "x"


async def test_azure_without_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(errors.MissingExtra, match="Entra tokens") as caught:
        await answer(resolve_model("azure:mine", base_url="http://127.0.0.1:9"), ask())
    assert caught.value.extra == "azure"


async def test_azure_with_entra_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = pytest.importorskip("azure.identity")
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(identity, "get_bearer_token_provider", lambda *_: lambda: "entra-token")
    async with Azure(dialect=AZURE) as fake:
        fake.reply("ok")
        model = resolve_model("azure:mine", base_url=f"http://127.0.0.1:{fake.port}")
        await answer(model, ask())
        assert fake.requests[0].headers["authorization"] == "Bearer entra-token"


async def test_a_deployment_that_is_not_there_and_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Azure(dialect=AZURE) as fake:
        address = f"http://127.0.0.1:{fake.port}"
        model = resolve_model("azure:other", base_url=address, api_key="k")
        with pytest.raises(errors.ModelNotFound) as caught:
            await answer(model, ask())
    assert "a deployment other" in caught.value.remedy
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(errors.ConfigurationError, match="AZURE_OPENAI_ENDPOINT"):
        await answer(resolve_model("azure:mine", api_key="k"), ask())


async def test_no_token_is_an_error_that_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = pytest.importorskip("azure.identity")
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)

    def fails() -> str:
        raise RuntimeError("no credential\nAttempted: this and that\nand another")

    monkeypatch.setattr(identity, "get_bearer_token_provider", lambda *_: fails)
    model = resolve_model("azure:mine", base_url="http://127.0.0.1:9")
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await answer(model, ask())
    assert "az login" in caught.value.remedy
    assert caught.value.message == "azure: no Entra token (RuntimeError: no credential)"
