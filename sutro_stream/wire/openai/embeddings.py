"""Embedding replies, parsed to answers."""

from __future__ import annotations

import orjson

from sutro_stream.errors import ProtocolError
from sutro_stream.values.outcomes import Answer
from sutro_stream.wire.openai.json import load_json, usage_of

_NUMBERS = frozenset({int, float})


def parse_embedding(body: bytes) -> Answer:
    """The one vector of an embeddings reply, as an answer's text.

    Raises:
        ProtocolError: The body is no such reply.
    """
    data = load_json(body)
    try:
        vector = data["data"][0]["embedding"]
        usage, model = usage_of(data.get("usage")), data.get("model")
    except (LookupError, TypeError, AttributeError):
        raise ProtocolError("the reply holds no embedding") from None
    if not isinstance(vector, list) or not vector:
        raise ProtocolError("the reply holds no embedding")
    text = orjson.dumps(vector) if _NUMBERS.issuperset(map(type, vector)) else b"null"
    # NaN and infinities are written as null, and no number has an n.
    if b"n" in text:
        raise ProtocolError("the reply's embedding is not a list of numbers")
    return Answer(
        text=text.decode(),
        finish_reason="stop",
        usage=usage,
        model=model if isinstance(model, str) else None,
    )
