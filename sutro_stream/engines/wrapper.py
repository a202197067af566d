"""What engines have in common that stand before an open one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sutro_stream.engines.engine import Engine, Responder, request_identity


@dataclass(frozen=True, slots=True)
class EngineWrapper:
    """An engine that somebody else opens and closes.

    Attributes:
        engine: Open.
    """

    engine: Engine

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def default_concurrency(self) -> int:
        return self.engine.default_concurrency

    async def __aenter__(self) -> Self:
        """Nothing: the engine is open."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing: the engine stays open."""


@dataclass(frozen=True, slots=True)
class OpeningWrapper(EngineWrapper):
    """An engine that is opened and closed through this one.

    Attributes:
        engine: Opened with the wrapper.
    """

    async def __aenter__(self) -> Self:
        """Open the engine."""
        await self.engine.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the engine."""
        await self.engine.__aexit__(exc_type, exc, traceback)


@dataclass(frozen=True, slots=True)
class ResponderWrapper:
    """The responder of such an engine.

    Attributes:
        responder: Answers.
    """

    responder: Responder

    @property
    def model(self) -> str | None:
        return self.responder.model

    @property
    def identity(self) -> Mapping[str, str]:
        return request_identity(self.responder)
