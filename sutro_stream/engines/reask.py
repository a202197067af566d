"""Further requests for an answer that does not have the right form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from sutro_stream.engines.engine import Responder
from sutro_stream.engines.retry_truncated import sum_usage
from sutro_stream.engines.wrapper import ResponderWrapper
from sutro_stream.errors import EngineError, InputTooLongError
from sutro_stream.values.instructions import PromptForm
from sutro_stream.values.outcomes import Answer

_REQUEST = (
    "That is not the answer that was asked for: {}. Answer again, with nothing but "
    "JSON that conforms to the schema."
)


@dataclass(frozen=True, slots=True)
class ReaskResponder(ResponderWrapper):
    """`Responder` that asks again where an answer does not have the right form.

    The model is shown what it said, and told what is wrong with it. The last answer
    takes the place of the others, whatever it is; tokens and requests of all of them
    are counted, as all are paid for.

    Attributes:
        conversing: Asked again; its prompts are messages.
        form: What the texts of prompts are.
        times: Most further requests; at least 1.
        flaw: What is wrong with an answer, `None` where asking again cannot help.
        on_reask: Called before each further request.
        on_lost: Called with what was answered where a further request fails, and the
            row is asked anew.
    """

    conversing: Responder
    form: PromptForm
    times: int
    flaw: Callable[[Answer], str | None]
    on_reask: Callable[[], None]
    on_lost: Callable[[Answer], None]

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`; an error of a further request is raised."""
        answer = await self.responder.answer(prompt, seed=seed)
        conversation = None
        for _ in range(self.times):
            flaw = self.flaw(answer)
            if flaw is None:
                break
            conversation = conversation or _messages(prompt, self.form)
            conversation += _further(answer.text, flaw)
            self.on_reask()
            try:
                better = await self.conversing.answer(f"[{conversation}]", seed=seed)
            except InputTooLongError as error:
                # With what it said there is no room: that stays its answer.
                spent = answer.requests + error.take_requests()
                return replace(answer, requests=spent)
            except EngineError as error:
                error.requests += answer.requests
                self.on_lost(answer)
                raise
            answer = replace(
                better,
                usage=sum_usage(answer.usage, better.usage),
                requests=answer.requests + better.requests,
            )
        return answer


def _messages(prompt: str, form: PromptForm) -> str:
    """A prompt as the elements of a JSON array of messages."""
    if form is PromptForm.MESSAGES:
        return prompt.strip()[1:-1]
    content = prompt if form is PromptForm.CONTENT else orjson.dumps(prompt).decode()
    return f'{{"role":"user","content":{content}}}'


def _further(text: str, flaw: str) -> str:
    said = {"role": "assistant", "content": text}
    request = {"role": "user", "content": _REQUEST.format(flaw)}
    return f",{orjson.dumps(said).decode()},{orjson.dumps(request).decode()}"
