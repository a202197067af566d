"""Every exception the package raises, on one page.

Families answer one question: what can the caller do? A row's failure is not an
exception (see `values.outcomes`); an exception means the run cannot continue,
or, between an engine and its stage, that one request did not succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum


class SutroStreamError(Exception):
    """Root of everything raised on purpose by this package."""


class ConfigurationError(SutroStreamError, ValueError):
    """An argument, file or combination of settings is wrong; nothing was sent."""


class WorkChangedError(ConfigurationError):
    """A ledger belongs to other work than the one that wants to go on with it.

    Attributes:
        differences: Names of the parts that differ.
    """

    def __init__(self, message: str, *, differences: tuple[str, ...]) -> None:
        super().__init__(message)
        self.differences = differences


class SourceError(SutroStreamError):
    """The input cannot be read.

    Attributes:
        path: The file or address without its query, `None` for values in memory.
        row_index: 0-based row at which reading stopped, `None` when not known.
    """

    def __init__(
        self, message: str, *, path: str | None = None, row_index: int | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.row_index = row_index


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is nothing to read under the given path."""

    def __str__(self) -> str:
        return str(self.args[0])


class SinkError(SutroStreamError):
    """The output cannot be written.

    Attributes:
        path: The file that was to be written.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class StoreError(SutroStreamError):
    """What is kept on disk cannot be used: no access, no space, of a newer format.

    That is a ledger, or the database or a file of a deployment.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class StoreInUseError(StoreError):
    """Another run has the ledger open; two at once would pay twice."""


class StoreDamagedError(StoreError):
    """What a ledger holds is not what was written to it."""


class StopReason(StrEnum):
    """Why a run ended before its last row."""

    BUDGET = "budget"
    """It has spent what it was given."""
    OUTAGE = "outage"
    """The endpoint answered nobody for longer than the run was to wait."""
    LIMIT = "limit"
    """The endpoint's limits leave nothing for longer than the run was to wait."""


class RunStoppedError(SutroStreamError):
    """A run ended before its last row; with a ledger it can be gone on with.

    Attributes:
        reason: Why.
    """

    def __init__(self, message: str, *, reason: StopReason) -> None:
        super().__init__(message)
        self.reason = reason


class BudgetExhaustedError(RunStoppedError):
    """A run has spent what it was given."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=StopReason.BUDGET)


class StageError(SutroStreamError):
    """A stage given by the user broke the contract of stages."""


class EngineError(SutroStreamError):
    """An engine did not answer a request.

    Attributes:
        requests: Requests that were sent before the engine gave up; above 1 where
            it asked several times itself.
        rate_hint: What the endpoint told of its rate limits (`values.rate_hints`,
            which is above this page), `None` for nothing.
    """

    requests: int = 1
    rate_hint: object = None

    def take_requests(self) -> int:
        """Read `requests` and set it back to 1: an error object may be raised again."""
        requests, self.requests = self.requests, 1
        return requests


class EngineUnavailableError(EngineError):
    """The engine cannot answer any request: not installed, not started, died."""


class InputTooLongError(EngineError):
    """One prompt does not fit the model's context window.

    Attributes:
        prompt_tokens: Length of the prompt as the engine counted it, in tokens,
            `None` when it did not say.
        context_tokens: Size of the window, in tokens, `None` when not said.
    """

    def __init__(
        self,
        message: str,
        *,
        prompt_tokens: int | None = None,
        context_tokens: int | None = None,
    ) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class UnreadableInputError(EngineError):
    """A file that a prompt consists of cannot be read; the message says why."""


class TransportError(EngineError):
    """No complete answer came back: connection or timeout; may be retried.

    Attributes:
        connected: Whether a connection stood; `False` means nobody answers there.
    """

    def __init__(self, message: str, *, connected: bool = True) -> None:
        super().__init__(message)
        self.connected = connected


class RequestTimeoutError(TransportError):
    """The answer took longer than the time limit of one attempt."""


class ProtocolError(EngineError):
    """The peer answered outside its contract; asking again will not help."""


class ServiceError(EngineError):
    """The peer answered with an error of its own.

    Attributes:
        status: HTTP status.
        code: The peer's machine-readable reason, `None` when it gave none.
        retry_after_s: Seconds the peer asked to wait, `None` when it did not.
        retryable: Whether the same request may succeed later, `None` where the
            status tells.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.retryable = retryable


class BadReplyError(ServiceError):
    """A reply of success that holds no answer and names no status: taken for a 502."""


class RateLimitedError(ServiceError):
    """Too many requests at once (429); the same request may succeed later."""


class AuthenticationError(ServiceError):
    """The key is missing, wrong or not allowed (401, 403)."""


class QuotaError(ServiceError):
    """The account has nothing left to spend; waiting does not help."""


class NotFoundError(ServiceError):
    """The address or the model does not exist at the peer (404)."""


class UncertainSubmissionError(EngineError):
    """It is not known whether a deployment accepted a submission.

    Sending it anew could make the job a second time, so nobody did.

    Attributes:
        idempotency_key: What the submission was sent under.
        is_traceable: Whether the deployment can tell, when it answers again, what
            became of the key: submit the same under the same key. `False` where it
            cannot; then only a person who looks at its jobs can.
    """

    def __init__(
        self, message: str, *, idempotency_key: str, is_traceable: bool
    ) -> None:
        super().__init__(message)
        self.idempotency_key = idempotency_key
        self.is_traceable = is_traceable


def is_fatal(error: EngineError) -> bool:
    """Whether an engine's error would meet every other row in the same way."""
    return isinstance(
        error,
        (AuthenticationError, QuotaError, NotFoundError, EngineUnavailableError),
    )


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """The exceptions inside nested groups, in order."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
