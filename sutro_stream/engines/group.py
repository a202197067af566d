"""Several endpoints for one model, used as one engine."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import anyio

from sutro_stream.engines.endpoint_health import (
    Blame,
    EndpointChooser,
    SetAside,
    Standing,
    Ticket,
    blame,
)
from sutro_stream.engines.engine import Engine, Responder, request_identity
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailableError,
    ServiceError,
    is_fatal,
)
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStatistics:
    """One endpoint of a group at one moment.

    Attributes:
        name: How messages call it.
        sent: Requests it was sent; the sum of the next four.
        answered: Those that were answered.
        failed: Those that ended in an error, the row's own errors among them.
        dropped: Those that were cancelled before their reply.
        in_flight: Those that are out.
        set_aside_until_s: Event loop time at which it is probed, infinite when it
            is set aside for good, `None` while it is trusted.
        reason: Why it is set aside, `None` while it is not.
    """

    name: str
    sent: int
    answered: int
    failed: int
    dropped: int
    in_flight: int
    set_aside_until_s: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """A group at one moment.

    Attributes:
        calls: Prompts that were to be answered.
        requests: Requests sent for them, to whichever endpoint.
        members: The endpoints, in the group's order.
    """

    calls: int
    requests: int
    members: Sequence[MemberStatistics]


class EngineGroup:
    """Engines that serve the same model, as one `Engine`.

    A request goes to the endpoint with the least load. When it fails for a reason
    that is the endpoint's, it is sent to another healthy one at once, never twice
    to the same. An endpoint that keeps failing is set aside; single requests find
    out when it works again.

    Concurrency: one event loop; what is known of the endpoints is shared by all
    pipelines that the group serves.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        weights: Sequence[float] | None = None,
        set_aside: SetAside | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Describe the group; nothing is opened yet.

        Args:
            engines: At least one, each once; the group opens and closes them.
            weights: Share of the load of each, compared with the others; `None`
                takes their default concurrency.
            set_aside: When one is set aside, `None` for the usual rules.
            rng: Source of the jitter of probes, `None` for a fresh one.

        Raises:
            ConfigurationError: No engines, one twice, or weights that do not fit.
        """
        if not engines:
            raise ConfigurationError("a group needs at least one engine")
        if len({id(engine) for engine in engines}) < len(engines):
            raise ConfigurationError("an engine can be in a group only once")
        if weights is None:
            weights = [engine.default_concurrency for engine in engines]
        if len(weights) != len(engines):
            raise ConfigurationError("a group needs one weight for each engine")
        if not all(0 < weight < math.inf for weight in weights):
            raise ConfigurationError("weights must be above 0")
        self._engines = tuple(engines)
        self._weights = tuple(weights)
        self._rules = set_aside or SetAside()
        self._rng = rng or random.Random()
        self._board = self._new_board()
        self._stack: AsyncExitStack | None = None

    def __repr__(self) -> str:
        return f"<EngineGroup {self.name}>"

    @property
    def name(self) -> str:
        """The names of its engines."""
        return " + ".join(engine.name for engine in self._engines)

    @property
    def default_concurrency(self) -> int:
        """As many as suit its engines together."""
        return sum(engine.default_concurrency for engine in self._engines)

    async def __aenter__(self) -> Self:
        """Open all engines, in order.

        Raises:
            ConfigurationError: The group is open already.
            EngineUnavailableError: One cannot be opened; those before it have
                been closed again.
        """
        if self._stack is not None:
            raise ConfigurationError(f"the group {self.name} is open already")
        async with AsyncExitStack() as stack:
            for engine in self._engines:
                await stack.enter_async_context(engine)
            self._stack = stack.pop_all()
        self._board = self._new_board()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all engines, also when closing one fails."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.__aexit__(exc_type, exc, traceback)

    def bind(self, instructions: Instructions) -> GroupResponder:
        """See `Engine`: binds every engine."""
        if self._stack is None:
            raise ConfigurationError(
                f"the group {self.name} is not open; use it inside `async with group:`"
            )
        return GroupResponder(
            [engine.bind(instructions) for engine in self._engines], self._board
        )

    def statistics(self) -> GroupStatistics:
        """What was sent where since the group was opened."""
        return self._board.statistics()

    def _new_board(self) -> _Board:
        chooser = EndpointChooser(self._weights, rules=self._rules, rng=self._rng)
        return _Board([engine.name for engine in self._engines], chooser)


class _Board:
    """What the responders of one group share."""

    def __init__(self, names: Sequence[str], chooser: EndpointChooser) -> None:
        self.names = names
        self.chooser = chooser
        self.calls = 0

    def statistics(self) -> GroupStatistics:
        endpoints = self.chooser.endpoints
        return GroupStatistics(
            calls=self.calls,
            requests=sum(endpoint.sent for endpoint in endpoints),
            members=[
                MemberStatistics(
                    name=name,
                    sent=endpoint.sent,
                    answered=endpoint.answered,
                    failed=endpoint.failed,
                    dropped=endpoint.dropped,
                    in_flight=endpoint.in_flight,
                    set_aside_until_s=endpoint.aside_until_s,
                    reason=None if endpoint.reason is None else str(endpoint.reason),
                )
                for name, endpoint in zip(self.names, endpoints, strict=True)
            ],
        )

    def closing_error(self) -> EngineUnavailableError:
        """The error of a group none of whose endpoints is left."""
        reasons = [
            f"{name}: {endpoint.reason}"
            for name, endpoint in zip(self.names, self.chooser.endpoints, strict=True)
            if endpoint.reason is not None
        ]
        return EngineUnavailableError(
            f"no endpoint of the group can be used; {'; '.join(reasons)}"
        )


class GroupResponder:
    """`Responder` of a group."""

    def __init__(self, responders: Sequence[Responder], board: _Board) -> None:
        """Responders in the order of the group's engines."""
        self._responders = responders
        self._board = board
        self._endpoints = board.chooser.endpoints

    @property
    def model(self) -> str | None:
        """See `Responder`: the endpoints' names for it, where these differ."""
        names = {responder.model for responder in self._responders}
        return " | ".join(sorted(name for name in names if name is not None)) or None

    @property
    def identity(self) -> Mapping[str, str]:
        """See `IdentifiesRequests`: the endpoints' texts, where these differ."""
        members = [request_identity(responder) for responder in self._responders]
        return {
            name: " | ".join(sorted({member.get(name, "none") for member in members}))
            for name in sorted(frozenset[str]().union(*members))
        }

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`: one request, and one more for each endpoint that failed."""
        board = self._board
        board.calls += 1
        errors: dict[int, EngineError] = {}
        requests = 0
        ticket = board.chooser.choose(anyio.current_time())
        while ticket is not None:
            try:
                answer = await self._ask(ticket, prompt, seed)
            except EngineError as error:
                requests += error.take_requests()
                if blame(error) is Blame.ROW:
                    error.requests = requests
                    raise
                errors[ticket.index] = error
            else:
                self._note_refusals(errors)
                return _counting(answer, requests)
            ticket = self._next(errors)
        conclusion = self._conclusion([*errors.values()])
        conclusion.requests = max(1, requests)
        raise conclusion

    async def _ask(self, ticket: Ticket, prompt: str, seed: int | None) -> Answer:
        endpoint = self._endpoints[ticket.index]
        try:
            answer = await self._responders[ticket.index].answer(prompt, seed=seed)
        except EngineError as error:
            endpoint.end_failed(ticket, error, now_s=anyio.current_time())
            error.rate_hint = None
            raise
        except BaseException:
            # Cancelled, or a fault of the engine's own: whatever it is, the place is
            # free again, and nothing is said of the endpoint.
            endpoint.end_dropped(ticket, now_s=anyio.current_time())
            raise
        endpoint.end_answered(ticket)
        # One endpoint's quota is not the group's.
        return answer if answer.rate_hint is None else replace(answer, rate_hint=None)

    def _next(self, errors: dict[int, EngineError]) -> Ticket | None:
        # An error that would end the run is worth a try of any endpoint that may
        # still come back; else the row returns later, of its own accord.
        is_last_resort = all(is_fatal(error) for error in errors.values())
        return self._board.chooser.choose(
            anyio.current_time(),
            excluded=errors,
            worst=Standing.ASIDE if is_last_resort else Standing.READY,
        )

    def _note_refusals(self, errors: Mapping[int, EngineError]) -> None:
        for index, error in errors.items():
            if blame(error) is Blame.REFUSED:
                self._endpoints[index].turned_away(error)

    def _conclusion(self, errors: Sequence[EngineError]) -> EngineError:
        """The error that tells best what the row should do now."""
        passing = [error for error in errors if not is_fatal(error)]
        if passing:
            return min(passing, key=_wait_s)
        # All that were asked refuse the row, which may be the row's own fault.
        refusals = [error for error in errors if blame(error) is Blame.REFUSED]
        if refusals:
            return refusals[0]
        if len(self._endpoints) == 1 and errors:
            return errors[0]
        return self._board.closing_error()


def _counting(answer: Answer, failed: int) -> Answer:
    """The answer, with the requests that failed before it."""
    if not failed:
        return answer
    return replace(answer, requests=answer.requests + failed)


def _wait_s(error: EngineError) -> float:
    asked_s = error.retry_after_s if isinstance(error, ServiceError) else None
    return asked_s or 0.0
