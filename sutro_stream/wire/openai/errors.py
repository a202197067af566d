"""What an endpoint says in an error, fit to be shown: short, and without secrets."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from sutro_stream.errors import ProtocolError
from sutro_stream.wire.openai.json import load_json

_SHOWN_CHARACTERS = 200
_SCANNED_CHARACTERS = 2000
_PAGE_CHARACTERS = 8_000
_PLAIN_BYTES = 500
_ANSWER_LIKE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[\[{\"]|[A-Za-z-]*:)")
_DEEPEST = 6
_LEAST_QUOTE = 4
_REMOVED = "…"

# Names of the text, the most telling first; never those that may hold what was sent.
_NAMES = (
    *("message", "msg", "error_message", "errormessage", "error_description"),
    *("detail", "details", "title", "reason", "description", "error", "errors"),
)
_WITHHELD = frozenset(
    {"input", "loc", "ctx", "url", "type", "code", "status", "param", "id", "body"}
)
# Of a message: words of the protocol, which are in many an error.
_NO_CONTENTS = frozenset({"role", "type", "detail"})
_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[\w+/=]*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|(?<=[。！？])")  # noqa: RUF001
_MARKUP = re.compile(
    r"\s*<(?:!doctype|\?xml)|<(?:html|head|body|title|h1|error)\b", re.IGNORECASE
)
_NOT_TEXT = re.compile(
    r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)|<[^>]*>",
    re.IGNORECASE | re.DOTALL,
)
_HEADINGS = tuple(
    re.compile(rf"<{tag}\b[^>]*>(.*?)</{tag}", re.IGNORECASE | re.DOTALL)
    for tag in ("title", "h1", "message")
)
_SECRETS = (
    # Users, passwords and queries in addresses.
    (re.compile(r"(\w://)[^\s/@]+@"), r"\1"),
    (re.compile(r"((?:\w://|/)[^\s?#\"'<>]*)[?#][^\s\"'<>)\]]*"), r"\1"),
    (
        re.compile(r"\b(bearer|basic)\s+(?!token\b|auth)[^\s\"',;]+", re.IGNORECASE),
        rf"\1 {_REMOVED}",
    ),
    (
        re.compile(
            r"((?:api[-_ ]?key|access[-_]?token|secret|password)[\"']?"
            r"(?:\s*=\s*|\s*:\s*[\"']))[^\s\"',;&]+",
            re.IGNORECASE,
        ),
        rf"\1{_REMOVED}",
    ),
    # What providers begin their keys with, and keys that they have starred out.
    (
        re.compile(
            r"\b(?:sk|pk|rk|gsk|hf|xai|pplx|nvapi|r8|csk|tgp|gh[opsu]|glpat|xox[a-z])"
            r"[-_][\w*.-]+|\bAIza[\w-]+|\b(?:AKIA|ASIA)[A-Z0-9]{8,}|[^\s,;]*\*{3,}[\w*-]*"
        ),
        _REMOVED,
    ),
)
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{16,}")
_RANDOM = re.compile(
    r"[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?=[A-Za-z+]*\d)(?=[\d+]*[A-Za-z])[A-Za-z0-9+]{16,}"
)


def error_detail(body: bytes) -> dict[str, Any]:
    """The error object inside a reply; for text or a page, one that has its words."""
    try:
        return detail_of(load_json(body))
    except ProtocolError:
        return {"message": body[:_PAGE_CHARACTERS].decode("utf-8", "replace")}


def detail_beside_answer(body: bytes) -> dict[str, Any]:
    """The same of a reply of success, of which most may be an answer: left out."""
    # Answers are JSON, or the lines of a stream, whole or cut; and objects within.
    if len(body) > _PLAIN_BYTES and not body.lstrip().startswith(b"<"):
        return {}
    if _ANSWER_LIKE.match(body) is None:
        return error_detail(body)
    try:
        data = load_json(body)
    except ProtocolError:
        return {}
    detail = {} if isinstance(data, str) else detail_of(data)
    return {name: it for name, it in detail.items() if not isinstance(it, dict)}


def detail_of(data: Any) -> dict[str, Any]:
    """The innermost error object of a JSON value, with the fields around it."""
    found: dict[str, Any] = {}
    for _ in range(_DEEPEST):
        if isinstance(data, list):
            data = next(filter(None, data), None)
        elif isinstance(data, dict):
            found |= data
            data = data.get("error") or data.get("errors")
        else:
            break
    if isinstance(data, str):
        found.setdefault("message", data)
    return found


def told(detail: Any, depth: int = 0) -> str:
    """All that an error object says to people, at most some 2,000 characters."""
    if depth > _DEEPEST:
        return ""
    if isinstance(detail, str):
        return _plain(detail, depth)
    if isinstance(detail, list):
        return next(filter(None, (told(item, depth + 1) for item in detail[:8])), "")
    if not isinstance(detail, dict):
        return ""
    fields = {str(name).lower(): value for name, value in detail.items()}
    for name in _NAMES:
        if text := told(fields.get(name), depth + 1):
            return _placed(fields.get("loc"), text) if name == "msg" else text
    if not depth:
        return ""
    rest = (told(v, depth + 1) for n, v in fields.items() if n not in _WITHHELD)
    return next(filter(None, rest), "")


def _placed(where: Any, text: str) -> str:
    """FastAPI's words for a field of the request, with its name."""
    if not isinstance(where, list):
        return text
    names = [str(name)[:_SHOWN_CHARACTERS] for name in where if name != "body"]
    return f"{'.'.join(names)}: {text}" if names else text


def _plain(text: str, depth: int) -> str:
    text = text.strip()
    if text.startswith(("{", "[")):
        try:
            inner = detail_of(load_json(text.encode("utf-8", "replace")))
        except ProtocolError:
            pass
        else:
            return told(inner, depth + 1)
    if _MARKUP.search(text[:_SCANNED_CHARACTERS]):
        text = _of_page(text[:_PAGE_CHARACTERS])
    return "" if "\0" in text else text[:_SCANNED_CHARACTERS]


def _of_page(page: str) -> str:
    """A page's title, its heading, or whatever text it begins with."""
    found = (heading.search(page) for heading in _HEADINGS)
    for text in (*(match[1] for match in found if match is not None), page):
        if plain := " ".join(html.unescape(_NOT_TEXT.sub(" ", text)).split()):
            return plain
    return ""


def shown(text: str, *, prompt: str, secrets: Sequence[str]) -> str:
    """The first sentence of what an endpoint says; empty if it quotes the prompt.

    Args:
        text: What it says.
        prompt: The prompt sent; of one that is JSON, its texts are looked for as well.
        secrets: What must not be shown wherever it stands, a key among it.
    """
    for secret in secrets:
        text = text.replace(secret, _REMOVED)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    text = _RUN.sub(_unless_random, text)
    line = next(filter(None, map(str.strip, text.splitlines())), "")
    sentence = " ".join(_SENTENCE_END.split(line, maxsplit=1)[0].split())
    sentence = "".join(filter(str.isprintable, sentence))[:_SHOWN_CHARACTERS]
    is_quote = any(_quotes(sentence, sent) for sent in _texts_in(prompt))
    return "" if is_quote else sentence.rstrip(" .:;,")


def _texts_in(prompt: str) -> Iterator[str]:
    """The prompt, and the texts in one of messages or parts, without JSON's escapes."""
    if not prompt.lstrip().startswith("["):
        yield prompt
        return
    # Nobody quotes an image, and one is long to look through.
    prompt = _IMAGE.sub("", prompt)
    yield prompt
    try:
        pending = [load_json(prompt.encode("utf-8", "replace"))]
    except ProtocolError:
        return
    while pending:
        found = pending.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, list):
            pending += found
        elif isinstance(found, dict):
            pending += (it for name, it in found.items() if name not in _NO_CONTENTS)


def _unless_random(run: re.Match[str]) -> str:
    return _REMOVED if _RANDOM.search(run[0]) else run[0]


def _quotes(text: str, prompt: str) -> bool:
    """Whether an endpoint's message repeats a part of the prompt."""
    piece = 16
    if len(text) < _LEAST_QUOTE:
        return False
    if len(prompt) <= piece:
        words = re.escape(prompt.strip())
        return bool(words) and re.search(rf"(?<!\w){words}(?!\w)", text) is not None
    return any(
        text[start : start + piece] in prompt
        for start in range(max(1, len(text) - piece + 1))
    )
