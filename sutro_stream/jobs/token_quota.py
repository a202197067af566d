"""An engine that answers one job until the job has used up its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.engines.wrapper import EngineWrapper, ResponderWrapper
from sutro_stream.errors import BudgetExhaustedError
from sutro_stream.flow.budget import BudgetMeter
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer


@dataclass(frozen=True, slots=True)
class TokenQuotaEngine(EngineWrapper):
    """An engine behind a quota; neither opens nor closes it.

    Not the run's own budget: that is asked before a row is taken, with the time and
    all that may change by it, and costs as much as a tenth of the row.

    Attributes:
        spent: Of the quota; a budget of tokens alone.
    """

    spent: BudgetMeter

    def bind(self, instructions: Instructions) -> TokenQuotaResponder:
        """See `Engine`."""
        return TokenQuotaResponder(self.engine.bind(instructions), self.spent)


@dataclass(frozen=True, slots=True)
class TokenQuotaResponder(ResponderWrapper):
    """`Responder` that ends the run when the quota is used up."""

    spent: BudgetMeter

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
