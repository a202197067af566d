"""The contract of an engine."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

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
