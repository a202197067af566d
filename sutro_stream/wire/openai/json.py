"""JSON as endpoints write it, the parts that the standard forbids among them."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from sutro_stream.errors import ProtocolError
from sutro_stream.values.outcomes import Usage

# What any model may read or write for one row; sums of it fit a ledger's integers.
MOST_TOKENS = 10**12
# What takes orjson a tenth of a second takes the lenient parser some seconds.
_MOST_LENIENT_BYTES = 8 << 20
# An escape of a whole pair, of half of one, and any other: so none is begun within.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(?P<half>u[dD][89a-fA-F]\w\w)|.)"
)


def load_json(body: bytes) -> Any:
    """The value in a reply.

    Beyond the standard it may have a byte order mark, `NaN` and infinities, and
    halves of surrogate pairs or bytes that are not UTF-8, which no file could hold:
    these become U+FFFD.

    Raises:
        ProtocolError: It is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not body.strip():
            raise ProtocolError("the reply is empty") from None
    if len(body) > _MOST_LENIENT_BYTES:
        raise ProtocolError("the reply is not JSON")
    try:
        text = body.decode(json.detect_encoding(body), "replace")
        return json.loads(_ESCAPE.sub(_mended, text), strict=False)
    except (ValueError, RecursionError):
        raise ProtocolError("the reply is not JSON") from None


def _mended(escape: re.Match[str]) -> str:
    return escape[0] if escape["half"] is None else r"\ufffd"


def usage_of(data: Any) -> Usage | None:
    """The tokens that a reply counts, `None` where it counts none that make sense."""
    if not isinstance(data, dict):
        return None
    read = _count(data, "prompt_tokens", "input_tokens")
    written = _count(data, "completion_tokens", "output_tokens")
    if read is None and written is None:
        return None
    details = data.get("prompt_tokens_details")
    cached = _count(details, "cached_tokens") if isinstance(details, dict) else 0
    return Usage(
        input_tokens=read or 0, output_tokens=written or 0, cached_tokens=cached or 0
    )


def _count(data: dict[str, Any], name: str, other: str = "") -> int | None:
    """The number of tokens under the first name, else under the other one."""
    value = data.get(name)
    if value is None:
        value = data.get(other)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    is_number = 0 <= value <= MOST_TOKENS and value == int(value)
    return int(value) if is_number else None
