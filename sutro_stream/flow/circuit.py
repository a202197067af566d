"""When to stop asking an endpoint that answers nothing."""

from __future__ import annotations

from sutro_stream.errors import (
    EngineError,
    EngineUnavailableError,
    InputTooLongError,
    TransportError,
)
from sutro_stream.flow.retry import is_retryable


class Circuit:
    """Judges the stream of final failures; opens once and for all.

    A row that is too long says nothing about the endpoint. A refused request
    (400) may be the row's own fault, and counts only before the first answer.
    """

    def __init__(self, *, failures: int = 20) -> None:
        """A closed circuit.

        Args:
            failures: Rows in a row that must fail for good before it opens.
        """
        self._limit = failures
        self._streak = 0
        self._ever_answered = False

    def answered(self) -> None:
        """Note an answer."""
        self._streak = 0
        self._ever_answered = True

    def failed(self, error: EngineError) -> EngineUnavailableError | None:
        """Note a row that failed for good.

        Returns:
            The error that ends the run, `None` while it may go on.
        """
        if isinstance(error, InputTooLongError):
            return None
        if not is_retryable(error) and self._ever_answered:
            return None
        nobody_there = isinstance(error, TransportError) and not error.connected
        if nobody_there and not self._ever_answered:
            return EngineUnavailableError(
                f"cannot reach the endpoint: {error}; "
                "check the address and that the server is running"
            )
        self._streak += 1
        if self._streak < self._limit:
            return None
        return EngineUnavailableError(
            f"gave up after {self._streak} rows in a row without an answer; "
            f"the last one: {error}"
        )
