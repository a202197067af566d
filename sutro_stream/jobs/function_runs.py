"""A Function answered while its caller waits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import anyio
import orjson
from anyio import to_thread

from sutro_stream.engines.confidence import confidence, scoring
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.fair_share import FairShareEngine
from sutro_stream.engines.request_counts import CountedEngine
from sutro_stream.errors import (
    ConfigurationError,
    EngineError,
    RateLimitedError,
    RunStoppedError,
    SutroStreamError,
)
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.jobs.activity import Activity
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.cost import price
from sutro_stream.jobs.discretion import without_addresses
from sutro_stream.jobs.engines import EnginePool, alternatives
from sutro_stream.jobs.model_slots import ModelSlots
from sutro_stream.jobs.targets import Target, Targets
from sutro_stream.pipeline.infer import Infer
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.rendering.function import Render
from sutro_stream.sources.memory import RowsSource
from sutro_stream.values.function import Function, InputType
from sutro_stream.values.outcomes import ErrorKind, Result, Usage
from sutro_stream.wire.api_error import ApiError, not_found

_WEIGHT = 16.0
_TEXT_OF_MEDIA = frozenset({"base64", "url"})
_RETRY = RetryPolicy(attempts=3, longest_delay_s=5.0)
# Somebody waits for the reply.
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRun:
    """The answer of a Function.

    Attributes:
        function: What was run.
        model: Name of the model in the catalogue.
        answered_by: The endpoint's name for it, `None` when it gave none.
        output: The parsed answer, or its text.
        confidence: 0 to 1, `None` when it was not scored or cannot be.
        usage: Tokens.
        cost_usd: Their price.
    """

    function: Function
    model: str
    answered_by: str | None
    output: Any
    confidence: float | None
    usage: Usage
    cost_usd: float


@dataclass(slots=True)
class _Allowance:
    """Runs of an account: a minute's worth at once, then as they grow back."""

    per_minute: float
    left: float
    filled_s: float

    def take(self, now_s: float) -> float:
        """Take one; 0, or the seconds until there is one."""
        most = max(1.0, self.per_minute)
        grown = (now_s - self.filled_s) * self.per_minute / 60
        self.left, self.filled_s = min(most, self.left + grown), now_s
        # A hair less than whole: time is rounded.
        if self.left < 1 - 1e-9:
            return (1 - self.left) * 60 / self.per_minute
        self.left -= 1
        return 0.0


class FunctionRuns:
    """Runs Functions, each account within its rate.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(
        self,
        *,
        config: ServiceConfig,
        targets: Targets,
        engines: EnginePool,
        slots: ModelSlots,
        activity: Activity,
    ) -> None:
        self._config = config
        self._targets = targets
        self._engines = engines
        self._slots = slots
        self._activity = activity
        self._allowances: dict[str, _Allowance] = {}

    async def run(
        self,
        account: str,
        name: str,
        given: Mapping[str, Any] | str,
        *,
        wants_confidence: bool,
    ) -> FunctionRun:
        """Validate, render and ask, within the deadline.

        Args:
            account: Whose Function it is.
            name: Of the published Function.
            given: Values by input, or the value of the only text input.
            wants_confidence: Whether to score the answer.

        Cancellation: the request is dropped.

        Raises:
            ApiError: 404 for no such Function, 422 for values that do not fit, 429
                above the account's rate, 502 when the model gave no valid answer,
                504 after the deadline.
        """
        target = await self._target(account, name)
        if target.function is None:
            raise not_found(f"the Function {name!r}", code="function_not_found")
        row = _row(target.function, given)
        self._count(account)
        field = target.confidence_field if wants_confidence else None
        deadline_s = self._config.function_deadline_s
        with anyio.move_on_after(deadline_s):
            return await self._answered(account, target, row, field)
        raise ApiError(
            504,
            "deadline_exceeded",
            f"the Function {name!r} was not answered within {deadline_s:g} s",
        )

    async def _target(self, account: str, name: str) -> Target:
        try:
            return await to_thread.run_sync(
                lambda: self._targets.published(name, account=account)
            )
        except ConfigurationError as error:
            raise ApiError(422, "model_not_available", str(error)) from error

    def _count(self, account: str) -> None:
        limit = self._config.function_requests_per_minute
        if limit is None:
            return
        now_s = anyio.current_time()
        allowance = self._allowances.get(account)
        if allowance is None:
            allowance = self._allowances[account] = _Allowance(
                limit, max(1.0, limit), now_s
            )
        missing_s = allowance.take(now_s)
        if missing_s > 0:
            # In whole seconds: clients read nothing else.
            wait_s = math.ceil(missing_s)
            raise ApiError(
                429,
                "rate_limited",
                f"more than {limit:g} Function runs a minute; wait {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )

    async def _answered(
        self, account: str, target: Target, row: dict[str, Any], field: str | None
    ) -> FunctionRun:
        function = target.function
        if function is None:
            raise TypeError("the target has no Function")
        instructions = replace(
            function.instructions,
            model=target.model.served_name or target.model.name,
            sampling=target.sampling(None),
        )
        try:
            opened = await self._engines.engine(target.model)
            slots = self._slots.of(target.model, opened)
            with slots.joined((account, 0), weight=_WEIGHT) as tenant:
                counts = self._activity.of(target.model.name).requests
                engine = FairShareEngine(CountedEngine(opened, counts), slots, tenant)
                result = await _asked(
                    replace(function, instructions=instructions),
                    row,
                    engine
                    if field is None
                    else scoring(
                        engine, field, alternatives=alternatives(target.model)
                    ),
                )
        except RateLimitedError as error:
            wait_s = max(1, int(error.retry_after_s or 1))
            raise ApiError(
                429,
                "rate_limited",
                "the model's endpoint is at its limit; try again later",
                headers={"Retry-After": str(wait_s)},
            ) from error
        except EngineError as error:
            reason = without_addresses(str(error))
            raise ApiError(502, "provider_error", reason) from error
        except RunStoppedError as error:
            raise ApiError(
                503,
                "unavailable",
                "the model's endpoint answers nobody at present; try again later",
                headers={"Retry-After": str(math.ceil(_PATIENCE_S))},
            ) from error
        except SutroStreamError as error:
            raise ApiError(422, "invalid_input", str(error)) from error
        return _run(function, target, result, field)


async def _asked(function: Function, row: dict[str, Any], engine: Engine) -> Result:
    pipeline = Pipeline[Any](
        RowsSource(rows=[row]), (Render(function=function),)
    ) | Infer(engine=engine, concurrency=1, retry=_RETRY, patience_s=_PATIENCE_S)
    async with pipeline.open() as results:
        async for result in results:
            found: Result = result
            return found
    raise ApiError(502, "provider_error", "the model gave no answer")


def _run(
    function: Function, target: Target, result: Result, field: str | None
) -> FunctionRun:
    error, answer = result.error, result.outcome.answer
    if error is not None or answer is None:
        reason = "the model gave no answer"
        if error is not None:
            reason = without_addresses(error.message)
        refused = error is not None and error.kind in _CALLERS_FAULT
        status, code = (422, "invalid_input") if refused else (502, "provider_error")
        raise ApiError(status, code, reason)
    usage = answer.usage or Usage()
    schema = function.instructions.schema
    return FunctionRun(
        function=function,
        model=target.model.name,
        answered_by=answer.model,
        output=result.output,
        confidence=None if field is None else confidence(answer, field, schema),
        usage=usage,
        cost_usd=price(target.model, usage.input_tokens, usage.output_tokens),
    )


_CALLERS_FAULT = frozenset(
    {
        ErrorKind.MISSING_VALUE,
        ErrorKind.WRONG_TYPE,
        ErrorKind.INPUT_TOO_LONG,
        ErrorKind.REJECTED,
    }
)


def _row(function: Function, given: Mapping[str, Any] | str) -> dict[str, Any]:
    """The values by input, all of them text.

    Raises:
        ApiError: Fields are missing, unknown or not text.
    """
    names = [declared.name for declared in function.inputs]
    if isinstance(given, str):
        if len(names) != 1 or function.inputs[0].type is not InputType.TEXT:
            raise ApiError(
                422,
                "invalid_input",
                "input: a text alone is for a Function with one text input; this one "
                f"takes {', '.join(names)}",
            )
        return {names[0]: given}
    missing = [name for name in names if name not in given]
    if missing:
        raise ApiError(
            422,
            "invalid_input",
            f"Missing required input field(s): {', '.join(missing)}.",
        )
    unknown = sorted(str(name) for name in given if name not in names)
    if unknown:
        raise ApiError(
            422,
            "invalid_input",
            f"Unknown input field(s): {', '.join(unknown)}; the Function takes "
            f"{', '.join(names)}.",
        )
    return {name: _text(name, given[name]) for name in names}


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, dict) and value.keys() & _TEXT_OF_MEDIA:
        raise ApiError(
            422,
            "unsupported_input",
            f"{name}: images and documents are not supported, only text",
        )
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # What was read from JSON can only be too deep to be written as such.
        raise ApiError(422, "invalid_input", f"{name}: nested too deeply") from None
