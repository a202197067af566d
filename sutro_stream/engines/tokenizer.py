"""An engine's own tokenizer, where it lends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from sutro_stream.errors import EngineError

_T = TypeVar("_T")


class Tokenizer(Protocol):
    """Counts and cuts text as a model reads it.

    Concurrency: any number of tasks at once. Every method may ask a server, once or
    a few times.
    """

    async def count(self, text: str) -> int:
        """How many tokens a text has, none added around it.

        Raises:
            EngineError: The endpoint did not say.
        """

    async def cut(self, text: str, tokens: int) -> str:
        """The longest beginning of a text that has at most so many tokens.

        Args:
            text: Any text.
            tokens: At least 0.

        Returns:
            The text itself where it is short enough.

        Raises:
            EngineError: The endpoint did not say.
        """

    async def overhead(self, system_prompt: str | None) -> int:
        """Tokens of a request beyond those of its prompt.

        Args:
            system_prompt: As requests have it, `None` for none.

        Raises:
            EngineError: The endpoint did not say.
        """


@runtime_checkable
class LendsTokenizer(Protocol):
    """An engine that may know how its model counts."""

    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, `None` where the endpoint has none to ask.

        It can be used while the engine is open.
        """


@dataclass(frozen=True, slots=True)
class SharedTokenizer:
    """`Tokenizer` of several endpoints of one model: the first that answers.

    Attributes:
        members: At least one, in the order in which they are asked.
    """

    members: Sequence[Tokenizer]

    async def count(self, text: str) -> int:
        return await self._first(lambda member: member.count(text))

    async def cut(self, text: str, tokens: int) -> str:
        return await self._first(lambda member: member.cut(text, tokens))

    async def overhead(self, system_prompt: str | None) -> int:
        return await self._first(lambda member: member.overhead(system_prompt))

    async def _first(self, ask: Callable[[Tokenizer], Awaitable[_T]]) -> _T:
        for member in self.members[:-1]:
            with suppress(EngineError):
                return await ask(member)
        return await ask(self.members[-1])
