"""What is told of work while it is done; nothing, unless somebody collects it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import NewType, Protocol, TypeAlias

Attributes: TypeAlias = Mapping[str, str | bool | int | float]

Origin = NewType("Origin", object)
"""A span that others can be tied to, also when it has ended."""

_NOTHING: Attributes = MappingProxyType({})


class Span(Protocol):
    """A piece of work from its begin to its end.

    Concurrency: one event loop.
    """

    @property
    def origin(self) -> Origin | None:
        """To tie others to it, `None` where nothing is collected."""

    def note(self, attributes: Attributes) -> None:
        """Add what is known by now; never a secret or the content of a row."""

    def failed(self, reason: str) -> None:
        """Mark it as work that went wrong."""

    def end(self) -> None:
        """Say that it is done; only for one that `Tracing.begin` gave."""


class Tracing(Protocol):
    """Where spans go."""

    def here(self) -> Origin | None:
        """The span that this task is in, `None` for none."""

    def span(
        self,
        name: str,
        *,
        attributes: Attributes = _NOTHING,
        link: Origin | None = None,
    ) -> AbstractContextManager[Span]:
        """A span that lasts as long as the context is entered, below the one here.

        Args:
            name: One of few: what differs from span to span is an attribute.
            attributes: Known from the start.
            link: What it goes back to without being a part of it.
        """

    def received(
        self, name: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Span]:
        """As `span`, for a request; a part of what its headers name, if they do."""

    def begin(self, name: str, *, parent: Origin | None) -> Span:
        """A span that lasts until it is ended, below another one."""


class _NoSpan:
    """`Span` of `NO_TRACING`."""

    @property
    def origin(self) -> Origin | None:
        return None

    def note(self, attributes: Attributes) -> None:
        pass

    def failed(self, reason: str) -> None:
        pass

    def end(self) -> None:
        pass


class _NoTracing:
    """`Tracing` that keeps nothing and costs nothing."""

    _span = _NoSpan()

    def here(self) -> Origin | None:
        return None

    def span(
        self,
        name: str,  # noqa: ARG002 - told to nobody
        *,
        attributes: Attributes = _NOTHING,  # noqa: ARG002 - as above
        link: Origin | None = None,  # noqa: ARG002 - as above
    ) -> AbstractContextManager[Span]:
        return nullcontext(self._span)

    def received(
        self,
        name: str,  # noqa: ARG002 - as above
        headers: Mapping[str, str],  # noqa: ARG002 - as above
    ) -> AbstractContextManager[Span]:
        return nullcontext(self._span)

    def begin(self, name: str, *, parent: Origin | None) -> Span:  # noqa: ARG002
        return self._span


NO_TRACING: Tracing = _NoTracing()
"""Where nobody collects traces."""
