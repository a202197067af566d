"""Why a deployment refused a request, whoever wrote the body of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

_SHOWN_CHARACTERS = 300
_SHOWN_ITEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What an error's body says.

    Attributes:
        detail: A sentence for people on one line, `None` where there is none: bodies
            of proxies are pages.
        code: A word for programs, `None` where there is none.
        request_id: For the people who run the deployment, `None` where there is none.
    """

    detail: str | None = None
    code: str | None = None
    request_id: str | None = None


def parse_refusal(body: bytes) -> Refusal:
    """Read the body of an error; never fails."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal()
    if not isinstance(fields, dict):
        return Refusal()
    return Refusal(
        detail=_detail(fields),
        code=_text(fields.get("code")),
        request_id=_text(fields.get("request_id")),
    )


def one_line(text: str) -> str:
    """The text on one line, and not too long to be shown."""
    return " ".join(text.split())[:_SHOWN_CHARACTERS]


def _detail(fields: Mapping[str, Any]) -> str | None:
    for name in ("detail", "message", "error"):
        found = _sentence(fields.get(name))
        if found is not None:
            return found
    return None


def _sentence(value: Any) -> str | None:
    if isinstance(value, str) and value.strip():
        return one_line(value)
    if isinstance(value, Mapping):
        return _sentence(value.get("message"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [item for item in map(_item, value[:_SHOWN_ITEMS]) if item]
        return one_line("; ".join(items)) or None
    return None


def _item(item: Any) -> str:
    """One mistake of a list of them, as FastAPI makes it."""
    if not isinstance(item, Mapping):
        return item if isinstance(item, str) else ""
    place = item.get("loc")
    names = place if isinstance(place, Sequence) and not isinstance(place, str) else ()
    where = ".".join(str(name) for name in names if name != "body")
    message = str(item.get("msg", ""))
    return f"{where}: {message}" if where else message


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
