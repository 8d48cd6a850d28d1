"""The providers' batch APIs: Anthropic's Message Batches and OpenAI's files and batches.

Written from https://platform.claude.com/docs/en/api/messages/batches and
https://platform.openai.com/docs/api-reference/batch; each request of a batch is checked and
answered as if it had come alone.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.reply import Failure, token
from tests.fakes.rules import InvalidRequestError
from tests.fakes.sse import dumps

Outcome = tuple[int, Mapping[str, Any]]
"""The status and the body that a request of a batch would have been answered with alone."""
Ask = Callable[[str, Any], Awaitable[Outcome]]


@dataclass(eq=False)
class Batch:
    """A batch as it was submitted, and what came of its requests."""

    id: str
    requests: list[str]
    outcomes: dict[str, Outcome]
    metadata: Mapping[str, str] | None = None
    endpoint: str = ""
    input_file: str = ""
    refusal: str = ""
    looks: int = 0
    expired: set[str] = field(default_factory=set)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Batches:
    """What a fake keeps of batches.

    `looks` is how often a batch is looked at before it has ended; `expiring` how many of a
    batch's last requests expire.
    """

    def __init__(self, ask: Ask) -> None:
        self.looks = 1
        self.expiring = 0
        self.submitted: list[Batch] = []
        self._ask = ask
        self._files: dict[str, bytes] = {}

    def _ended(self, batch: Batch) -> bool:
        return batch.looks > self.looks

    def _find(self, batch_id: str) -> Batch:
        for batch in self.submitted:
            if batch.id == batch_id:
                return batch
        raise InvalidRequestError(f"No batch found with id '{batch_id}'.", status=404)

    async def _add(self, kind: str, asked: Mapping[str, Any], path: str) -> Batch:
        names = list(asked)
        batch = Batch(f"{kind}{token((id(self), len(self.submitted)))}", names, {})
        batch.expired = set(names[len(names) - self.expiring :])
        for name in names:
            if name not in batch.expired:
                batch.outcomes[name] = await self._ask(path, asked[name])
        self.submitted.append(batch)
        return batch


class AnthropicBatches(Batches):
    """`/v1/messages/batches`, at an address."""

    def __init__(self, ask: Ask, base_url: Callable[[], str]) -> None:
        super().__init__(ask)
        self._base_url = base_url

    async def answer(self, method: str, path: str, body: Any) -> bytes | None:
        """The response's body; None if it is another endpoint."""
        path = path.partition("?")[0]
        if not path.startswith("/v1/messages/batches"):
            return None
        rest = path.removeprefix("/v1/messages/batches").strip("/")
        if method == "POST" and not rest:
            asked: dict[str, Any] = {}
            for index, each in enumerate(body.get("requests") or ()):
                name = each.get("custom_id")
                if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(name)):
                    raise InvalidRequestError(
                        f"requests.{index}.custom_id: String should match pattern "
                        "'^[a-zA-Z0-9_-]{1,64}$'"
                    )
                if name in asked:
                    raise InvalidRequestError(f"Duplicate custom_id: {name}")
                if each.get("params", {}).get("stream"):
                    raise InvalidRequestError(
                        f"requests.{index}.params.stream: Extra inputs are not permitted"
                    )
                asked[name] = each["params"]
            if not asked:
                raise InvalidRequestError("requests: List should have at least 1 item")
            batch = await self._add("msgbatch_01", asked, "/v1/messages")
            return self._shown(batch)
        if method == "GET" and not rest:
            newest = [json.loads(self._shown(batch)) for batch in reversed(self.submitted)]
            page = {"data": newest, "has_more": False, "first_id": None, "last_id": None}
            return dumps(page).encode()
        batch = self._find(rest.partition("/")[0])
        if not rest.endswith("/results"):
            batch.looks += 1
            return self._shown(batch)
        if not self._ended(batch):
            raise InvalidRequestError("results are not available yet", status=404)
        lines = [
            {"custom_id": name, "result": self._result(batch, name)} for name in batch.requests
        ]
        return b"".join(dumps(line).encode() + b"\n" for line in reversed(lines))

    def _result(self, batch: Batch, name: str) -> dict[str, Any]:
        if name in batch.expired:
            return {"type": "expired"}
        status, body = batch.outcomes[name]
        if status == 200:
            return {"type": "succeeded", "message": body}
        return {"type": "errored", "error": body}

    def _shown(self, batch: Batch) -> bytes:
        ended = self._ended(batch)
        counts = dict.fromkeys(("canceled", "errored", "expired", "processing", "succeeded"), 0)
        for name in batch.requests:
            kind = self._result(batch, name)["type"] if ended else "processing"
            counts[kind] += 1
        stamp = "%Y-%m-%dT%H:%M:%S.%fZ"
        url = f"{self._base_url()}/v1/messages/batches/{batch.id}/results"
        return dumps(
            {
                "id": batch.id,
                "type": "message_batch",
                "processing_status": "ended" if ended else "in_progress",
                "request_counts": counts,
                "ended_at": datetime.now(UTC).strftime(stamp) if ended else None,
                "created_at": batch.created.strftime(stamp),
                "expires_at": (batch.created + timedelta(days=1)).strftime(stamp),
                "archived_at": None,
                "cancel_initiated_at": None,
                "results_url": url if ended else None,
            }
        ).encode()


class OpenAIBatches(Batches):
    """`/v1/files` and `/v1/batches`."""

    async def answer(
        self, method: str, path: str, body: Any, *, raw: bytes, content_type: str
    ) -> bytes | None:
        """The response's body; None if it is another endpoint."""
        path = path.partition("?")[0]
        if (method, path) == ("POST", "/v1/files"):
            return self._upload(raw, content_type)
        if found := re.fullmatch(r"/v1/files/([\w-]+)/content", path):
            if found[1] not in self._files:
                raise InvalidRequestError(f"No such File object: {found[1]}", status=404)
            return self._files[found[1]]
        if (method, path) == ("POST", "/v1/batches"):
            return await self._create(body)
        if (method, path) == ("GET", "/v1/batches"):
            data = [json.loads(self._shown(batch)) for batch in reversed(self.submitted)]
            return dumps({"object": "list", "data": data, "has_more": False}).encode()
        if found := re.fullmatch(r"/v1/batches/([\w-]+)", path):
            batch = self._find(found[1])
            batch.looks += 1
            return self._shown(batch)
        return None

    def _upload(self, raw: bytes, content_type: str) -> bytes:
        head = f"content-type: {content_type}\r\n\r\n".encode()
        form = email.message_from_bytes(head + raw, policy=email.policy.HTTP)
        parts: dict[str, Any] = {}
        for part in form.iter_parts():  # type: ignore[attr-defined]
            parts[part.get_param("name", header="content-disposition")] = part
        if parts["purpose"].get_content().strip() != "batch":
            raise InvalidRequestError("Invalid value for 'purpose'", param="purpose")
        content = parts["file"].get_payload(decode=True)
        file_id = self._store(content)
        return dumps(
            {
                "id": file_id,
                "object": "file",
                "bytes": len(content),
                "created_at": int(datetime.now(UTC).timestamp()),
                "filename": parts["file"].get_filename(),
                "purpose": "batch",
                "status": "processed",
            }
        ).encode()

    def _store(self, content: bytes) -> str:
        file_id = f"file-{token((id(self), len(self._files)))}"
        self._files[file_id] = content
        return file_id

    async def _create(self, body: Mapping[str, Any]) -> bytes:
        for name in ("input_file_id", "endpoint", "completion_window"):
            if name not in body:
                raise InvalidRequestError(
                    f"Missing required parameter: '{name}'.", code="missing_required_parameter"
                )
        if body["completion_window"] != "24h":
            raise InvalidRequestError("Invalid value: 'completion_window'", code="invalid_value")
        asked: dict[str, Any] = {}
        refusal = ""
        for number, line in enumerate(self._files[body["input_file_id"]].splitlines(), 1):
            each = json.loads(line)
            if each["url"] != body["endpoint"] or each["method"] != "POST":
                refusal = f"line {number}: the URL must be that of the batch"
            if each["body"].get("stream"):
                refusal = f"line {number}: stream is not supported in batches"
            if each["custom_id"] in asked:
                refusal = f"line {number}: the custom_id was used before"
            asked[each["custom_id"]] = each["body"]
        batch = await self._add("batch_", {} if refusal else asked, body["endpoint"])
        batch.metadata = body.get("metadata")
        batch.endpoint, batch.input_file = body["endpoint"], body["input_file_id"]
        batch.refusal = refusal
        return self._shown(batch)

    def _shown(self, batch: Batch) -> bytes:
        ended = self._ended(batch)
        status = "in_progress"
        if ended:
            status = "expired" if batch.expired else "completed"
        if batch.refusal:
            status = "failed"
        good = [each for each, (status, _) in batch.outcomes.items() if status == 200]
        bad = [each for each in batch.requests if each not in good]
        errors = {"object": "list", "data": [{"code": "invalid", "message": batch.refusal}]}
        return dumps(
            {
                "id": batch.id,
                "object": "batch",
                "endpoint": batch.endpoint,
                "errors": errors if batch.refusal else None,
                "input_file_id": batch.input_file,
                "completion_window": "24h",
                "status": status,
                "output_file_id": self._lines(batch, good) if ended and good else None,
                "error_file_id": self._lines(batch, bad) if ended and bad else None,
                "created_at": int(batch.created.timestamp()),
                "request_counts": {
                    "total": len(batch.requests),
                    "completed": len(good) if ended else 0,
                    "failed": len(bad) if ended else 0,
                },
                "metadata": batch.metadata,
            }
        ).encode()

    def _lines(self, batch: Batch, names: list[str]) -> str:
        lines = []
        for name in reversed(names):
            said: dict[str, Any] = {"response": None, "error": None}
            if name in batch.expired:
                said["error"] = {
                    "code": "batch_expired",
                    "message": "This request could not be executed before the completion window "
                    "expired.",
                }
            else:
                status, body = batch.outcomes[name]
                request_id = token((batch.id, name, "request"), 32).lower()
                said["response"] = {"status_code": status, "request_id": request_id, "body": body}
            line_id = f"batch_req_{token((batch.id, name))}"
            lines.append(dumps({"id": line_id, "custom_id": name, **said}).encode())
        return self._store(b"\n".join(lines))


def as_failure(failure: Failure, body: bytes) -> Outcome:
    """A refusal as a batch has it."""
    return failure.status, json.loads(body)
