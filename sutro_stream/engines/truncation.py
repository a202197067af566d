"""Prompts that are too long, cut to fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import anyio

from sutro_stream.engines.engine import Engine
from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.engines.wrapper import OpeningWrapper, ResponderWrapper
from sutro_stream.errors import EngineError, InputTooLongError, NotFoundError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer

# More than any chat template is known to add.
_TEMPLATE_TOKENS = 256
_MOST_FOR_ANSWER = 0.75
_MOST_REFUSALS = 16
_BLIND_SHARE = 0.7
_MOST_SHORTER = 16
_SLACK = 1.01
_MOST_BYTES = 4  # of a character


def truncating(
    engine: Engine,
    *,
    tokenizer: Tokenizer | None,
    context_window: int | None,
    answer_room: int,
) -> Engine:
    """An engine that cuts the end of prompts that are too long.

    Prompts that surely fit are sent as they are, without a question. Others are
    counted and cut by the tokenizer, so that system prompt, chat template and answer
    have room. What the endpoint refuses as too long all the same is cut by what it
    reports, and sent again. Answers to prompts that were cut say so
    (`Answer.truncated_input`).

    Args:
        engine: Answers; open it before, or through this one.
        tokenizer: Its tokenizer, `None` to go by the endpoint's reports alone.
        context_window: Tokens of prompt and answer together, `None` if not known:
            then also by reports alone.
        answer_room: Tokens to keep for an answer where the sampling parameters
            give no `max_tokens`. At most three quarters of the window are kept.
    """
    return _TruncatingEngine(
        engine=engine,
        rules=_Rules(
            tokenizer=tokenizer, context_window=context_window, answer_room=answer_room
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    tokenizer: Tokenizer | None
    context_window: int | None
    answer_room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _TruncatingEngine(OpeningWrapper):
    """`Engine` in front of another."""

    rules: _Rules

    def bind(self, instructions: Instructions) -> TruncatingResponder:
        return TruncatingResponder(
            self.engine.bind(instructions),
            _Fitting(self.rules, instructions.system_prompt),
            instructions.sampling.answer_limit or self.rules.answer_room,
        )


@dataclass(frozen=True, slots=True)
class TruncatingResponder(ResponderWrapper):
    """`Responder` that cuts; made by an engine from `truncating`."""

    fitting: _Fitting
    answer_room: int

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        """See `Responder`: one request, and one more for each cut after a refusal."""
        text = await self.fitting.fitted(prompt, answer_room=self.answer_room)
        reports = _Reports()
        requests = 0
        while True:
            try:
                answer = await self.responder.answer(text, seed=seed)
            except EngineError as error:
                requests += error.take_requests()
                shorter = None
                if isinstance(error, InputTooLongError):
                    shorter = await self._shorter(text, error, reports)
                if shorter is None:
                    error.requests = requests
                    raise
                text = shorter
            else:
                return replace(
                    answer,
                    requests=answer.requests + requests,
                    truncated_input=len(text) < len(prompt),
                )

    async def _shorter(
        self, text: str, error: InputTooLongError, reports: _Reports
    ) -> str | None:
        """What to try after a refusal, `None` when nothing is left to try."""
        reports.refusals += 1
        if not text or reports.refusals > _MOST_REFUSALS:
            return None
        window = error.context_tokens
        tokens, wanted = error.prompt_tokens, 0
        if window is not None:
            wanted = window - _answer_room(self.answer_room, window)
        if tokens is None or not 0 < wanted < tokens:
            # It does not say, or counts in another way than it says.
            return text[: int(len(text) * _BLIND_SHARE)]
        if reports.refusals == 1:
            cut = await self.fitting.without(text, tokens - wanted)
            if cut is not None:
                return cut or None
        per_character = reports.tokens_per_character(len(text), tokens)
        if tokens > 2 * wanted:
            # Text is not equally dense everywhere; what is near the cut tells best.
            wanted *= 2
        removed = math.ceil(_SLACK * (tokens - wanted) / per_character)
        kept = max(len(text) - removed, len(text) // _MOST_SHORTER)
        return text[:kept] or None


class _Reports:
    """What an endpoint has said about the prompts of one row."""

    def __init__(self) -> None:
        self.refusals = 0
        self._last: tuple[int, int] | None = None

    def tokens_per_character(self, characters: int, tokens: int) -> float:
        """Of the end of the text.

        The text's mean holds what is around it as well, and so cuts too little. What
        the last cut took away knows of nothing else, but may be denser than the rest.
        """
        last, self._last = self._last, (characters, tokens)
        mean = tokens / characters
        if last is None or last[1] <= tokens:
            return mean
        return min(mean, (last[1] - tokens) / (last[0] - characters))


class _Fitting:
    """Cuts prompts before they are sent."""

    def __init__(self, rules: _Rules, system_prompt: str | None) -> None:
        self._tokenizer = rules.tokenizer
        self._window = rules.context_window
        self._system_prompt = system_prompt
        self._overhead: int | None = None
        self._asking = anyio.Lock()

    async def fitted(self, prompt: str, *, answer_room: int) -> str:
        """The prompt, or its beginning that leaves room for the rest."""
        window, tokenizer = self._window, self._tokenizer
        if window is None or tokenizer is None:
            return prompt
        most = window - _answer_room(answer_room, window)
        if self._surely_fits(prompt, most):
            return prompt
        try:
            budget = most - await self._known_overhead(tokenizer)
            # Without any room it is for the endpoint to refuse the row.
            if budget <= 0 or self._surely_fits(prompt, most):
                return prompt
            return await tokenizer.cut(prompt, budget)
        except EngineError as error:
            self._note(error)
            return prompt

    async def without(self, text: str, tokens: int) -> str | None:
        """The text without its last tokens, `None` when that cannot be told."""
        tokenizer = self._tokenizer
        if tokenizer is None:
            return None
        try:
            counted = await tokenizer.count(text)
            return await tokenizer.cut(text, max(0, counted - tokens))
        except EngineError as error:
            self._note(error)
            return None

    def _surely_fits(self, prompt: str, most: int) -> bool:
        # No token is shorter than a byte. Bytes are counted only where that matters.
        around = self._overhead
        if around is None:
            system = self._system_prompt or ""
            around = _TEMPLATE_TOKENS + _MOST_BYTES * len(system)
        room = most - around
        if len(prompt) * _MOST_BYTES < room:
            return True
        return len(prompt) < room and len(prompt.encode()) < room

    async def _known_overhead(self, tokenizer: Tokenizer) -> int:
        async with self._asking:
            if self._overhead is None:
                self._overhead = await tokenizer.overhead(self._system_prompt)
        return self._overhead

    def _note(self, error: EngineError) -> None:
        if isinstance(error, NotFoundError):
            # There is none at this address; asking for each row would be in vain.
            self._tokenizer = None


def _answer_room(wanted: int, window: int) -> int:
    return min(wanted, int(_MOST_FOR_ANSWER * window))
