"""An engine that answers one job until the job has used up its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sutro_stream.engines.engine import Engine, Responder
from sutro_stream.errors import BudgetExhaustedError
from sutro_stream.flow.budget import BudgetMeter
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True)
class TokenQuotaEngine:
    """An engine behind a quota; neither opens nor closes it.

    Not the run's own budget: that is asked before a row is taken, with the time and
    all that may change by it, and costs as much as a tenth of the row.

    Attributes:
        engine: Open.
        spent: Of the quota; a budget of tokens alone.
    """

    engine: Engine
    spent: BudgetMeter

    @property
    def name(self) -> str:
        """See `Engine`."""
        return self.engine.name

    @property
    def default_concurrency(self) -> int:
        """See `Engine`."""
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

    def bind(self, instructions: Instructions) -> TokenQuotaResponder:
        """See `Engine`."""
        return TokenQuotaResponder(self.engine.bind(instructions), self.spent)


@dataclass(frozen=True, slots=True)
class TokenQuotaResponder:
    """`Responder` that ends the run when the quota is used up."""

    responder: Responder
    spent: BudgetMeter

    @property
    def model(self) -> str | None:
        """See `Responder`."""
        return self.responder.model

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`.

        Raises:
            BudgetExhaustedError: Nothing is asked any more.
        """
        spent = self.spent
        reason = spent.exhausted(0.0)
        if reason is not None:
            raise BudgetExhaustedError(reason)
        spent.sent()
        try:
            answer = await self.responder.answer(prompt, seed=seed)
        except BaseException:
            # It is not out any more, however it ended.
            spent.failed()
            raise
        usage = answer.usage
        spent.answered(
            input_tokens=0 if usage is None else usage.input_tokens,
            output_tokens=0 if usage is None else usage.output_tokens,
        )
        return answer
