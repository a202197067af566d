"""The bytes of a request's JSON body, as an object or as an `ApiError`."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.parsing import parse_mapping
from sutro_stream.wire.api_error import ApiError, invalid

ValueT = TypeVar("ValueT")

_WHAT = "request"


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises:
        ApiError: 400 when it is not JSON, 422 when it is no object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = f"the body is not valid JSON: {error.msg} at character {error.pos}"
        raise ApiError(400, "invalid_json", message) from None
    if not isinstance(value, dict):
        raise invalid("the body must be a JSON object")
    return value


def checked(adapter: TypeAdapter[ValueT], fields: dict[str, Any]) -> ValueT:
    """Hold an object's fields against their types; null means absent.

    Raises:
        ApiError: 422, naming each field that does not fit.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return parse_mapping(adapter, given, what=_WHAT)
    except ConfigurationError as error:
        raise invalid(one_line(str(error)).removeprefix(f"{_WHAT}: ")) from None


def one_line(message: str) -> str:
    """A message that lists several mistakes, without line breaks."""
    first, *others = (line.strip().removeprefix("- ") for line in message.splitlines())
    return " ".join(filter(None, [first, "; ".join(others)]))
