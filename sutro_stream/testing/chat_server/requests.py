"""The request as a script sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One chat completion request, parsed.

    Attributes:
        sequence: Number of the request in order of arrival, 0-based.
        attempt: How often this prompt has been asked, starting at 1. Rows with
            equal prompts share their count.
        prompt: Text of the last user message.
        system_prompt: Text of the first system message, `None` without one.
        body: The whole request body. Not to be changed.
        headers: Request headers, their names in any case.
        arrived_s: When it arrived, in seconds on the event loop's clock.
        in_flight: Requests in flight when it arrived, itself included.
    """

    sequence: int
    attempt: int
    prompt: str
    system_prompt: str | None
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    arrived_s: float
    in_flight: int = 1

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as server-sent events."""
        return bool(self.body.get("stream"))

    @property
    def json_schema(self) -> Mapping[str, Any] | None:
        """The schema the answer must satisfy, `None` without one."""
        wanted = self.body.get("response_format")
        if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
            return None
        schema = wanted["json_schema"]["schema"]
        return schema if isinstance(schema, dict) else {}


class AttemptCounter:
    """Counts attempts per prompt, for the newest prompts only.

    Keeps hashes in two generations, so its memory is bounded.

    Args:
        generation_prompts: Prompts per generation: at least that many of the newest
            are remembered, at most twice that many.
    """

    def __init__(self, *, generation_prompts: int = 32_768) -> None:
        self._generation_prompts = generation_prompts
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def count(self, prompt: str) -> int:
        """Count one more attempt and return its number, starting at 1."""
        key = hash(prompt)
        attempt = (self._young.get(key) or self._old.get(key, 0)) + 1
        self._young[key] = attempt
        if len(self._young) >= self._generation_prompts:
            self._old, self._young = self._young, {}
        return attempt


def parse_body(raw: bytes) -> Mapping[str, Any]:
    """The JSON body of a chat request, checked as far as the server reads it.

    Raises:
        ValueError: It is no JSON, or not shaped like a chat request.
    """
    body = orjson.loads(raw)
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        message = "the body must be a JSON object with a model"
        raise ValueError(message)  # noqa: TRY004 - one type for every bad body
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        message = "messages must be a list with at least one message"
        raise ValueError(message)
    if not all(isinstance(each, dict) and "role" in each for each in messages):
        message = "every message must be an object with a role"
        raise ValueError(message)
    _check_response_format(body.get("response_format"))
    return body


def last_prompt(body: Mapping[str, Any]) -> str:
    """Text of the last user message, empty without one."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            return message_text(message)
    return ""


def first_system_prompt(body: Mapping[str, Any]) -> str | None:
    """Text of the first system (or developer) message, `None` without one."""
    for message in body["messages"]:
        if message["role"] in {"system", "developer"}:
            return message_text(message)
    return None


def message_text(message: Mapping[str, Any]) -> str:
    """Text of one message, the text parts joined where it comes in parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict))


def _check_response_format(wanted: object) -> None:
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        message = "response_format must be an object"
        raise ValueError(message)  # noqa: TRY004 - one type for every bad body
    if wanted.get("type") == "json_schema":
        holder = wanted.get("json_schema")
        if not isinstance(holder, dict) or "schema" not in holder:
            message = "response_format.json_schema must hold a schema"
            raise ValueError(message)
