"""The JSON in a text that has more than JSON: behind thoughts, in a fence, in prose.

Takes time in proportion to the text, whatever is in it: what was begun and turns out
to be no JSON is passed over as a whole, up to the bracket that ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from sutro_stream.values.schema import OutputSchema

# As reasoning models and their templates write them: DeepSeek, Qwen, Seed, Mistral,
# Kimi, and what people ask for in prompts.
_TAG = r"(?:[a-z]{1,16}:)?(?:think(?:ing)?|thoughts?|reasoning|reflection|scratchpad)"
_OPENING = re.compile(rf"<{_TAG}>|\[THINK\]|◁think▷", re.IGNORECASE)
_CLOSING = re.compile(
    rf"</{_TAG}>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
_FENCE = re.compile(r"^[ \t]*+(```|~~~).*$", re.MULTILINE)
_BEGINNING = re.compile(r'\{\s*+["}]|\[\s*+(?:["{\[\]0-9-]|true|false|null)')
# Strings as a whole, and one quote where a string does not end.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{\[]++|[}\]]++|"', re.DOTALL)
# A bracket of prose that nothing closes costs a look at the whole text.
_MOST_UNCLOSED = 4
# What is said behind the answer is short.
_MOST_TRIED = 256


def extracted(text: str, schema: OutputSchema) -> Any:
    """The last whole JSON value behind the thoughts that conforms to the schema.

    A value is an object or an array that is no part of another, the content of a code
    fence, or all that stands behind the thoughts. Nothing is repaired.

    Args:
        text: An answer that is not JSON as a whole.
        schema: What it must conform to.

    Returns:
        The parsed value; `None` where there is none, since one that is null takes no
        looking for.
    """
    start = _behind_thoughts(text)
    if start is None:
        return None
    rest = text[start:].strip()
    value = _conforming(rest, schema)
    if value is not None:
        return value
    brackets = _bracketed(rest)
    if brackets is None:
        return None
    spans = sorted([*brackets, *_fenced(rest)], key=lambda span: span[1])
    for begin, end in reversed(spans[-_MOST_TRIED:]):
        value = _conforming(rest[begin:end], schema)
        if value is not None:
            return value
    return None


def _behind_thoughts(text: str) -> int | None:
    """Where thoughts end, 0 without any; `None` where they have no end."""
    # Templates that open them leave no more than the end in the text.
    opening, closing = _OPENING.search(text), _CLOSING.search(text)
    end = 0
    while closing is not None:
        end = closing.end()
        opening = _OPENING.search(text, end)
        if opening is None:
            return end
        closing = _CLOSING.search(text, opening.end())
    return end if opening is None else None


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    """Where contents of code fences begin and end."""
    opened, begin = "", 0
    for line in _FENCE.finditer(text):
        if not opened:
            opened, begin = line[1], line.end()
        elif line[1] == opened:
            yield begin, line.start()
            opened = ""


def _bracketed(text: str) -> list[tuple[int, int]] | None:
    """Where objects and arrays begin and end; not all that is found is JSON.

    `None` where an object is begun and not closed: what it holds is no answer, and
    neither is what stood before it.
    """
    spans = []
    unclosed, at = 0, 0
    while (found := _BEGINNING.search(text, at)) is not None:
        begin = found.start()
        end = _closed(text, begin)
        if end is not None:
            spans.append((begin, end))
            at = end
            continue
        unclosed += 1
        if text[begin] == "{" or unclosed > _MOST_UNCLOSED:
            return None
        at = begin + 1
    return spans


def _closed(text: str, begin: int) -> int | None:
    """Where the bracket at `begin` is closed, `None` where it is not."""
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        first, size = text[token.start()], token.end() - token.start()
        if first in "{[":
            depth += size
        elif first in "}]":
            if size >= depth:
                return token.start() + depth
            depth -= size
        elif size == 1:
            return None
    return None


def _conforming(text: str, schema: OutputSchema) -> Any:
    """The value that a text is, `None` where it is none that conforms."""
    value, reason, _ = schema.check(text)
    if reason is not None or value is None:
        return None
    try:
        # What a ledger could not write down apart from the text around it.
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
    return value
