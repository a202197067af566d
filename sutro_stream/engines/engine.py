"""The contract of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import orjson

from sutro_stream.values.fingerprint import fingerprint
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


class Responder(Protocol):
    """An engine ready to answer prompts that share their instructions.

    Concurrency: any number of tasks at once; each call is one request.
    """

    @property
    def model(self) -> str | None:
        """The model that is asked, `None` when the endpoint chooses."""

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """Ask once, without retries.

        Args:
            prompt: The user message, sent as it is.
            seed: Seed of this row; `None` leaves the instructions' own.

        Cancellation: the request is dropped; engines that can tell the server do.

        Raises:
            InputTooLongError: This prompt does not fit the context window.
            TransportError: No complete answer came back.
            ProtocolError: What came back is not an answer.
            ServiceError: The endpoint answered with an error.
            EngineUnavailableError: The engine is closed, or gone for good.
        """


@runtime_checkable
class IdentifiesRequests(Protocol):
    """A responder that adds something of its own to requests, and says what.

    Answers that a ledger keeps are used again only as long as this is the same.
    """

    @property
    def identity(self) -> Mapping[str, str]:
        """What is added, as short texts or digests by names that a person understands.

        Never a key or a header. What has its default is left out, so that ledgers
        written before it could be chosen still fit.
        """


def request_identity(responder: Responder) -> Mapping[str, str]:
    """What a responder adds to requests; empty for one that does not say."""
    if isinstance(responder, IdentifiesRequests):
        return responder.identity
    return MappingProxyType({})


def further_fields(fields: Mapping[str, Any]) -> Mapping[str, str]:
    """The identity of a responder that adds these fields to each request."""
    if not fields:
        return {}
    return {"extra body": fingerprint(orjson.loads(orjson.dumps(fields)))}


class Engine(Protocol):
    """Something that answers prompts.

    Used as `async with engine:`; it may then serve several pipelines.
    """

    @property
    def name(self) -> str:
        """How messages call it; never with a key or a URL's query."""

    @property
    def default_concurrency(self) -> int:
        """Requests in flight that suit it when the user says nothing."""

    async def __aenter__(self) -> Self:
        """Open connections, start processes.

        Raises:
            ConfigurationError: It is open already.
            EngineUnavailableError: It cannot be started; says what to do.
        """

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close what `__aenter__` opened; nothing is left running."""

    def bind(self, instructions: Instructions) -> Responder:
        """Prepare what all requests share.

        Raises:
            ConfigurationError: The engine is not open, or cannot do what the
                instructions ask (a sampling parameter it does not know).
        """
