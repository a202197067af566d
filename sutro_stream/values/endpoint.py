"""An OpenAI-compatible endpoint, as Python, the command line and a file describe it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

Dialect: TypeAlias = Literal[
    "openai",
    "azure",
    "vllm",
    "sglang",
    "llama.cpp",
    "ollama",
    "openrouter",
    "gemini",
    "mistral",
    "groq",
]
"""Whose parameters an endpoint knows; what they are called is in `wire.openai`."""

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
USUAL_DIALECT: Dialect = "vllm"

TransportName: TypeAlias = Literal["fast", "aiohttp"]
"""What speaks HTTP: a client of our own, or aiohttp."""

TRANSPORTS: tuple[TransportName, ...] = get_args(TransportName)
USUAL_TRANSPORT: TransportName = "fast"

ApiKey: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A key, or a function that returns the one that is valid now; it may be async."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One OpenAI-compatible endpoint.

    Attributes:
        url: Address up to and with the version, usually ending in `/v1`; its query is
            sent with each request, and shown in no message.
        api_key: Its key, `None` for none; a secret.
        dialect: Whose parameters it knows.
        stream: Whether replies are asked for as streams, for servers that only notice
            a closed connection while they are writing to it.
        headers: Further request headers; secrets, all of them.
        extra_body: Further fields of each request, sent as they are.
        transport: What speaks HTTP to it, `None` for `"fast"`, or `"aiohttp"` where
            there is a proxy.
        proxy: Address of a proxy that requests go through, `None` for none, whatever
            the environment says; a user and a password in it are sent.
        ca_file: Certificate authorities to trust beside those of this machine (PEM).
    """

    url: str = field(repr=False)
    api_key: ApiKey | None = field(default=None, repr=False)
    dialect: Dialect = USUAL_DIALECT
    stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    transport: TransportName | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
