"""What became of each row: an answer, or the reason there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from sutro_stream.values.quick import quick
from sutro_stream.values.rate_hints import RateHint

if TYPE_CHECKING:
    from sutro_stream.values.prompts import PromptBatch


class ErrorKind(StrEnum):
    """Why a row has no answer."""

    BAD_ROW = "bad_row"
    """It could not be read from its file as a row; it was never sent."""
    MISSING_VALUE = "missing_value"
    """A required input is null; the row was never sent."""
    WRONG_TYPE = "wrong_type"
    """An input does not have its declared type; the row was never sent."""
    INPUT_TOO_LONG = "input_too_long"
    """The prompt exceeds the model's context window."""
    REJECTED = "rejected"
    """The endpoint refused this request as it is (400, 401, 403, 404, 413, 422)."""
    TRUNCATED = "truncated"
    """The answer hit the token limit before it was complete."""
    INVALID_OUTPUT = "invalid_output"
    """The answer does not conform to the output schema."""
    FILTERED = "filtered"
    """The endpoint withheld the answer (content filter)."""
    PROVIDER_ERROR = "provider_error"
    """The model ended in an error instead of an answer, by its finish reason."""
    BAD_REPLY = "bad_reply"
    """The endpoint's reply was not a chat completion."""
    TIMEOUT = "timeout"
    """No attempt was answered within its time limit."""
    UNREACHABLE = "unreachable"
    """No attempt got through: connection refused or broken."""
    RATE_LIMITED = "rate_limited"
    """Every attempt was answered with 429."""
    SERVER_ERROR = "server_error"
    """The last attempt ended in an error of the endpoint (5xx)."""
    JOB_FAILED = "job_failed"
    """The job of a deployment that the row was part of failed, or was cancelled."""
    NO_ANSWER = "no_answer"
    """The model ended without a text, or a deployment's job without a reason."""


TRANSPORT_FAILURES = frozenset(
    {
        ErrorKind.BAD_REPLY,
        ErrorKind.TIMEOUT,
        ErrorKind.UNREACHABLE,
        ErrorKind.RATE_LIMITED,
        ErrorKind.SERVER_ERROR,
    }
)
"""What another attempt may cure: a later run asks such rows again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """The reason a row failed.

    Attributes:
        kind: What happened, for programs.
        message: What happened, for people; never holds a value of the row.
        field: The input or output field concerned, `None` when none is.
    """

    kind: ErrorKind
    message: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


# As OpenAI, Anthropic, Gemini and Mistral call it, in lower case.
_CUT_REASONS = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
    }
)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the engine counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """Log-probability of one answered token.

    Attributes:
        token: The token's text.
        logprob: Natural logarithm of its probability, at most 0.
        alternatives: Other tokens considered in its place, likeliest first.
    """

    token: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine said to one prompt, unchanged.

    Attributes:
        text: The model's message.
        finish_reason: `"stop"`, `"length"`, …; `None` when the engine gave none.
        usage: Tokens, `None` when the engine did not count.
        model: The model that answered, by the engine's name for it.
        reasoning: The model's thinking, where the engine separates it.
        refusal: Why the model declined, where the endpoint separates it.
        logprobs: One entry per token, `None` unless asked for and given.
        requests: Requests that were sent for it; above 1 where the engine asked
            several times itself. Two answers that differ in this alone are equal.
        truncated_input: Whether the engine was asked to cut prompts that are too
            long, and has cut this one. As `requests`, it makes no answers differ.
        rate_hint: What the endpoint told of its rate limits, `None` for nothing.
            As `requests`, it makes no answers differ; no ledger keeps it.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    # What a ledger keeps is the outcome's `attempts`, which include these.
    requests: int = field(default=1, compare=False)
    truncated_input: bool = field(default=False, compare=False)
    rate_hint: RateHint | None = field(default=None, compare=False)

    @property
    def is_cut(self) -> bool:
        """Whether the model was stopped at the limit of tokens."""
        reason = self.finish_reason
        return reason is not None and reason.lower() in _CUT_REASONS


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one row.

    Attributes:
        answer: The engine's last answer; also kept when it did not pass. `None`
            when there was none.
        value: The parsed answer when a schema was given and met, else `None`.
        error: Why the row failed, `None` when it did not.
        attempts: Requests sent for this row, also those an engine sent on top;
            0 for a refused one.
        extracted: Whether the value was taken out of a text that has more in it.
        seconds: Time of the attempt that was answered, `None` unless it was wanted.
    """

    answer: Answer | None = None
    value: Any = None
    error: RowError | None = None
    attempts: int = 0
    extracted: bool = False
    seconds: float | None = None

    @property
    def is_cut(self) -> bool:
        """Whether it is a text that was cut off at the limit of tokens."""
        answer = self.answer
        if answer is None or self.error is not None or self.value is not None:
            # What met a schema is whole, whatever the model was stopped by.
            return False
        return answer.is_cut


@dataclass(frozen=True, slots=True)
class AnsweredTexts(Sequence[Outcome]):
    """Answers of which only the text is known, each to one request.

    Reads as a sequence of outcomes, made when they are looked at: an object for each
    row costs more than all else where rows come and go by the thousand.

    Attributes:
        texts: Strings, none of them null.
    """

    texts: pa.Array

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...
    @overload
    def __getitem__(self, at: slice) -> AnsweredTexts: ...
    def __getitem__(self, at: int | slice) -> Outcome | AnsweredTexts:
        if isinstance(at, slice):
            return AnsweredTexts(self.texts[at])
        return _answered(self.texts[at].as_py())

    def __iter__(self) -> Iterator[Outcome]:
        return map(_answered, self.texts.to_pylist())


def _answered(text: str) -> Outcome:
    return Outcome(answer=Answer(text=text), attempts=1)


def joined_outcomes(parts: Sequence[Sequence[Outcome]]) -> Sequence[Outcome]:
    """The outcomes of several sequences as one."""
    if len(parts) == 1:
        return parts[0]
    texts = [part.texts for part in parts if isinstance(part, AnsweredTexts)]
    if texts and len(texts) == len(parts):
        return AnsweredTexts(pa.concat_arrays(texts))
    return list(chain.from_iterable(parts))


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row's outcome, at its place in the stream.

    Attributes:
        index: 0-based position of the row in the stream.
        outcome: Everything known about the answer.
        structured: Whether an output schema was given.
    """

    index: int
    outcome: Outcome
    structured: bool = False
    _batch: PromptBatch = field(repr=False)
    _offset: int = field(repr=False)

    @property
    def output(self) -> Any:
        """The answer: parsed JSON under a schema, text without; `None` on error."""
        outcome = self.outcome
        if outcome.error is not None or outcome.answer is None:
            return None
        return outcome.value if self.structured else outcome.answer.text

    @property
    def error(self) -> RowError | None:
        """Why there is no output, `None` when there is."""
        return self.outcome.error

    @property
    def text(self) -> str | None:
        """The model's message as it wrote it, also when it did not pass."""
        answer = self.outcome.answer
        return None if answer is None else answer.text

    @property
    def usage(self) -> Usage | None:
        """Tokens of the answer, `None` when not known."""
        answer = self.outcome.answer
        return None if answer is None else answer.usage

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, `None` when not known."""
        answer = self.outcome.answer
        return None if answer is None else answer.finish_reason

    @property
    def prompt(self) -> str | None:
        """The user message; `None` if the row was refused, or it was made elsewhere."""
        text: str | None = self._batch.texts[self._offset].as_py()
        return text

    @property
    def row(self) -> dict[str, Any]:
        """The input columns of this row, as Python values."""
        return self._batch.rows.values_at(self._offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeBatch:
    """Outcomes of some rows of one prompt batch.

    Attributes:
        prompts: The batch the rows come from.
        offsets: Their offsets within it, in the order of `outcomes`.
        outcomes: One for each offset.
        structured: Whether an output schema was given.
    """

    prompts: PromptBatch
    offsets: Sequence[int]
    outcomes: Sequence[Outcome]
    structured: bool

    def __len__(self) -> int:
        return len(self.outcomes)

    @classmethod
    def join(cls, batches: Sequence[OutcomeBatch]) -> OutcomeBatch:
        """One batch of the rows of several that come from the same prompts."""
        first, last = batches[0].offsets, batches[-1].offsets
        offsets: Sequence[int] = [at for batch in batches for at in batch.offsets]
        span = range(first[0], last[-1] + 1)
        if len(span) == len(offsets) and offsets == list(span):
            offsets = span
        return cls(
            prompts=batches[0].prompts,
            offsets=offsets,
            outcomes=joined_outcomes([batch.outcomes for batch in batches]),
            structured=batches[0].structured,
        )

    def items(self) -> Iterator[Result]:
        """The results one by one."""
        batch, structured = self.prompts, self.structured
        first = batch.first_index
        for offset, outcome in zip(self.offsets, self.outcomes, strict=True):
            yield Result(
                index=first + offset,
                outcome=outcome,
                structured=structured,
                _batch=batch,
                _offset=offset,
            )
