"""Bytes and mappings from outside, parsed with pydantic into lines to act on."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sutro_stream.errors import ConfigurationError

ValueT = TypeVar("ValueT")

_UNION_MEMBER = re.compile(r"str|list\[\w+\]")
"""How pydantic marks, in a place, which type of several it has tried."""

_REASONS = {
    "missing": "is required",
    "unexpected_keyword_argument": "is not a known field",
    "extra_forbidden": "is not a known field",
    "dataclass_type": "input should be an object",
    "dict_type": "input should be an object",
}


def parse_mapping(adapter: TypeAdapter[ValueT], data: Any, *, what: str) -> ValueT:
    """Validate `data`; one message line for each mistake.

    Raises:
        ConfigurationError: `data` does not fit; the message starts with `what`.
    """
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        raise ConfigurationError(f"{what}:{_lines(error)}") from None


def parse_json(adapter: TypeAdapter[ValueT], data: bytes, *, what: str) -> ValueT:
    """Parse and validate JSON bytes; as `parse_mapping`."""
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise ConfigurationError(f"{what}:{_lines(error)}") from None


def _lines(error: ValidationError) -> str:
    lines = [_line(place, messages) for place, messages in _by_place(error).items()]
    if len(lines) == 1:
        return f" {lines[0]}"
    return "".join(f"\n  - {line}" for line in lines)


def _by_place(error: ValidationError) -> dict[str, list[str]]:
    """What is wrong at each place; several when none of its types fits."""
    places: dict[str, list[str]] = {}
    for item in error.errors(
        include_url=False, include_input=False, include_context=False
    ):
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}"
            for part in item["loc"]
            if not _UNION_MEMBER.fullmatch(str(part))
        ).removeprefix(".")
        places.setdefault(place, []).append(_reason(item["type"], item["msg"]))
    return places


def _reason(kind: str, message: str) -> str:
    if kind in _REASONS:
        return _REASONS[kind]
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _line(place: str, reasons: list[str]) -> str:
    reason = ", or ".join(dict.fromkeys(reasons))
    if not place:
        return reason
    return f"{place} {reason}" if reason.startswith("is ") else f"{place}: {reason}"
