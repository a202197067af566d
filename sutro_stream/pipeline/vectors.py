"""Which answers are vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from sutro_stream.values.outcomes import ErrorKind, Outcome, RowError

_NUMBERS = frozenset({int, float})
# Beyond it numbers of 32 bits are infinite.
_LARGEST = 3.4e38
_NO_VECTOR = RowError(
    kind=ErrorKind.INVALID_OUTPUT, message="the answer is not a list of numbers"
)


@dataclass(slots=True)
class VectorForm:
    """What vectors of one run have in common.

    Attributes:
        length: Of the first one, `None` before it.
    """

    length: int | None = None

    def checked(self, outcome: Outcome) -> Outcome:
        """The outcome with its vector as the value, or with what is wrong with it."""
        answer = outcome.answer
        if answer is None or outcome.error is not None:
            return outcome
        try:
            vector = orjson.loads(answer.text)
        except orjson.JSONDecodeError:
            return replace(outcome, error=_NO_VECTOR)
        if not isinstance(vector, list) or not vector:
            return replace(outcome, error=_NO_VECTOR)
        if not _NUMBERS.issuperset(map(type, vector)):
            return replace(outcome, error=_NO_VECTOR)
        if max(vector) > _LARGEST or min(vector) < -_LARGEST:
            message = "a number of the vector is too large for 32 bits"
            error = RowError(kind=ErrorKind.INVALID_OUTPUT, message=message)
            return replace(outcome, error=error)
        if self.length is None:
            self.length = len(vector)
        if len(vector) != self.length:
            message = f"the vector has {len(vector)} numbers, others have {self.length}"
            error = RowError(kind=ErrorKind.INVALID_OUTPUT, message=message)
            return replace(outcome, error=error)
        return replace(outcome, value=vector)
