"""How sure a model was of its answer, from the probabilities of its tokens.

Endpoints report a token's probability among all tokens, also where a schema lets
only a few of them pass: `positive` may have had 20 per cent, `Positive` 40, and only
the first was allowed. What says something about the answer is a token's share among
those that could begin an allowed value. Llama.cpp's `post_sampling_probs` do not help:
it masks lazily, and reports numbers before the mask whenever the first draw passes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from json import JSONDecodeError, JSONDecoder
from typing import Any

from sutro_stream.engines.engine import Engine
from sutro_stream.engines.wrapper import OpeningWrapper, ResponderWrapper
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import Answer, TokenLogprob
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema

ALTERNATIVES = 20
"""Alternatives to ask for with each token: the most that OpenAI and vLLM give."""

MORE_ALTERNATIVES = 100
"""The same of llama.cpp, which gives any number."""

_MOST_UNKNOWN = 0.1
_SPACE = " \t\r\n"
_ENDS = frozenset(_SPACE + ",}")
_DECODER = JSONDecoder()


def cumulative_logprob(answer: Answer) -> float | None:
    """The sum of the logarithms of the probabilities of an answer's tokens.

    Returns:
        At most 0; `None` where the engine gave none.
    """
    if answer.logprobs is None:
        return None
    return min(0.0, math.fsum(entry.logprob for entry in answer.logprobs))


def confidence(
    answer: Answer, field: str | None, schema: OutputSchema | None = None
) -> float | None:
    """The probability of the value of one output field, given what stands before it.

    For a field with a few allowed values it is the value's share among these, which
    needs alternatives beside the tokens (see `scoring`). For a text it is the product
    of its tokens' probabilities.

    Args:
        answer: A complete one; a field is looked for in its text, a JSON object.
        field: Name of a top-level property; `None` for the only one that has a few
            allowed values, or, without a schema, for the whole text.
        schema: What the answer conforms to, `None` for free text.

    Returns:
        0 to 1; `None` where it cannot be told: no log-probabilities, no such field,
        a number or a nested value, a decision that the alternatives do not show.
    """
    if answer.logprobs is None:
        return None
    if schema is None:
        return None if field is not None else _product(answer.logprobs)
    if field is None:
        field = scored_field(schema)
    span = None if field is None else _value_span(answer.text, field)
    if field is None or span is None:
        return None
    tokens = _placed(answer.text, answer.logprobs)
    values = schema.allowed_values(field)
    if values is not None:
        return _share(answer.text, span, tokens, values)
    if answer.text[span.start] != '"':
        return None
    inner = range(span.start + 1, span.stop - 1)
    within = [token for token in tokens if token.touches(inner)]
    if not _covers(within, inner):
        return None
    return _product([token.entry for token in within])


def scored_field(schema: OutputSchema) -> str | None:
    """The one property with a few allowed values; `None` for none or several."""
    names = [
        field.name
        for field in schema.fields
        if len(schema.allowed_values(field.name) or ()) > 1
    ]
    return names[0] if len(names) == 1 else None


def scoring(
    engine: Engine, field: str | None, *, alternatives: int = ALTERNATIVES
) -> Engine:
    """An engine whose answers hold what `confidence` needs, and no more.

    It asks for log-probabilities with alternatives, whatever the sampling parameters
    say of them, and keeps the alternatives of the field's tokens only: a ledger would
    grow a hundredfold by all of them. Temperature and the like need no change.

    Args:
        engine: Answers; open it before, or through this one.
        field: As `confidence` has it.
        alternatives: How many to ask for. The more, the more often it can be told
            how likely the values were that the model did not choose.
    """
    return _ScoringEngine(engine=engine, field=field, alternatives=alternatives)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ScoringEngine(OpeningWrapper):
    """`Engine` in front of another."""

    field: str | None
    alternatives: int

    def bind(self, instructions: Instructions) -> ScoringResponder:
        schema, field = instructions.schema, self.field
        if field is None and schema is not None:
            field = scored_field(schema)
        wanted = SamplingParams(logprobs=0 if schema is None else self.alternatives)
        asked = replace(instructions, sampling=instructions.sampling.merged(wanted))
        return ScoringResponder(responder=self.engine.bind(asked), field=field)


@dataclass(frozen=True, slots=True)
class ScoringResponder(ResponderWrapper):
    """`Responder` that keeps the alternatives of one field's tokens."""

    field: str | None

    async def answer(self, prompt: str, *, seed: int | None = None) -> Answer:
        answer = await self.responder.answer(prompt, seed=seed)
        if answer.logprobs is None:
            return answer
        span = None if self.field is None else _value_span(answer.text, self.field)
        return replace(answer, logprobs=tuple(_thinned(answer, span)))


def _thinned(answer: Answer, span: range | None) -> Iterator[TokenLogprob]:
    entries = answer.logprobs or ()
    # The token after the value may be what ends it.
    near = range(0) if span is None else range(span.start, span.stop + 1)
    kept = {
        token.index for token in _placed(answer.text, entries) if token.touches(near)
    }
    for index, entry in enumerate(entries):
        yield entry if index in kept else replace(entry, alternatives=())


def _product(entries: Sequence[TokenLogprob]) -> float:
    return min(1.0, math.exp(math.fsum(entry.logprob for entry in entries)))


# Where tokens stand in the text.


@dataclass(frozen=True, slots=True)
class _Placed:
    """A token and the characters it stands for."""

    index: int
    start: int
    entry: TokenLogprob

    @property
    def stop(self) -> int:
        return self.start + len(self.entry.token)

    def touches(self, span: range) -> bool:
        return self.start < span.stop and self.stop > span.start


def _placed(text: str, entries: Sequence[TokenLogprob]) -> list[_Placed]:
    """The tokens whose place is known, in order.

    Counted from the front, and where that ends (a character whose bytes several tokens
    share, thoughts that are not part of the text) from the back.
    """
    front: list[_Placed] = []
    at = 0
    for index, entry in enumerate(entries):
        if not text.startswith(entry.token, at):
            break
        front.append(_Placed(index, at, entry))
        at += len(entry.token)
    if at == len(text):
        return front
    back: list[_Placed] = []
    end = len(text)
    for index in range(len(entries) - 1, len(front) - 1, -1):
        token = entries[index].token
        if not text.endswith(token, at, end):
            if back:
                break
            continue  # the end of the answer, which is not part of its text
        end -= len(token)
        back.append(_Placed(index, end, entries[index]))
    return front + back[::-1]


def _covers(tokens: Sequence[_Placed], span: range) -> bool:
    """Whether the tokens follow each other from start to end of a span."""
    if not tokens:
        return len(span) == 0
    return (
        tokens[0].start <= span.start
        and tokens[-1].stop >= span.stop
        and all(one.stop == next_.start for one, next_ in pairwise(tokens))
    )


def _value_span(text: str, field: str) -> range | None:
    """Where the value of a top-level property stands in the text of an object."""
    found = None
    try:
        at = _after(text, 0, "{")
        while text[at] != "}":
            name, at = _DECODER.raw_decode(text, at)
            start = _after(text, at, ":")
            _, stop = _DECODER.raw_decode(text, start)
            if name == field:
                found = range(start, stop)
            at = _skipped(text, stop)
            if text[at] == ",":
                at = _skipped(text, at + 1)
    except (JSONDecodeError, IndexError):
        return None
    return found


def _skipped(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _after(text: str, at: int, mark: str) -> int:
    at = _skipped(text, at)
    if text[at] != mark:
        raise JSONDecodeError("unexpected character", text, at)
    return _skipped(text, at + 1)


# The share of a value among those that were allowed.


def _share(
    text: str, span: range, tokens: Sequence[_Placed], values: Sequence[Any]
) -> float | None:
    chosen = text[span.start : span.stop]
    meant = json.loads(chosen)
    others = [_literal(value) for value in values if not _same(value, meant)]
    # The token after a number decides as well: 1 could have become 10.
    near = range(span.start, span.stop + (chosen[-1] != '"'))
    deciding = [token for token in tokens if token.touches(near)]
    if not _covers(deciding, range(span.start, min(near.stop, len(text)))):
        return None
    share = 1.0
    for token in deciding:
        decision = _Decision.of(text, span.start, token, chosen, others)
        if decision.is_unclear:
            return None
        share *= decision.share
    return share


@dataclass(slots=True)
class _Decision:
    """What one token decided, in probabilities.

    Attributes:
        ours: Of tokens that begin the chosen value.
        theirs: Of tokens that begin other allowed values only.
        unknown: At most that of tokens which were not reported.
    """

    ours: float
    theirs: float
    unknown: float

    @property
    def share(self) -> float:
        return self.ours / (self.ours + self.theirs)

    @property
    def is_unclear(self) -> bool:
        known = self.ours + self.theirs
        return known <= 0 or self.unknown / (known + self.unknown) > _MOST_UNKNOWN

    @classmethod
    def of(
        cls,
        text: str,
        start: int,
        token: _Placed,
        chosen: str,
        others: Sequence[str],
    ) -> _Decision:
        written = text[start : token.start]
        lead = text[token.start : start]
        own = token.entry.token[len(lead) :]
        open_others = [other for other in others if other.startswith(written)]
        # Those that the token has ruled out; without any it decided nothing.
        closed = [other for other in open_others if not _begins(written + own, other)]
        decides = len(closed) == len(open_others)
        ours, theirs = math.exp(token.entry.logprob), 0.0
        reported, least = ours, 1.0
        for name, logprob in token.entry.alternatives:
            probability = math.exp(logprob)
            least = min(least, probability)
            if name == token.entry.token:
                continue
            reported += probability
            if name == lead or not name.startswith(lead):
                continue
            beginning = written + name[len(lead) :]
            is_ours = _begins(beginning, chosen)
            is_theirs = any(_begins(beginning, other) for other in open_others)
            # What could become either is no evidence, unless it was what was taken.
            if is_ours and not (decides and is_theirs):
                ours += probability
            elif is_theirs and not is_ours:
                theirs += probability
        unknown = min(max(0.0, 1.0 - reported), least * len(closed))
        return cls(ours, theirs, unknown)


def _begins(beginning: str, literal: str) -> bool:
    """Whether a text is the beginning of a value, or that value and what follows it."""
    if literal.startswith(beginning):
        return True
    if not beginning.startswith(literal):
        return False
    return literal[-1] == '"' or beginning[len(literal)] in _ENDS


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _same(one: Any, other: Any) -> bool:
    # In JSON, true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
