"""One submission, made once: whatever happens on the way, never a second job."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from aiohttp import hdrs

from sutro_stream.deployments.exchange import Call, Exchange
from sutro_stream.deployments.failures import was_not_taken
from sutro_stream.errors import (
    EngineError,
    NotFoundError,
    ProtocolError,
    ServiceError,
    TransportError,
    UncertainSubmissionError,
)
from sutro_stream.flow.retry import RetryPolicy, is_retryable
from sutro_stream.wire.responses import (
    SubmissionInfo,
    parse_submission,
    parse_submitted,
)
from sutro_stream.wire.routes import IDEMPOTENCY_HEADER, SUBMISSION, SUBMIT
from sutro_stream.wire.submission_body import Body

_UNKNOWN_KEY = "submission_not_found"
_IN_PROGRESS = "idempotency_in_progress"
_LOOK_AGAIN_S = 1.0


@dataclass(slots=True)
class KeyMemory:
    """What is known of a deployment's way with idempotency keys.

    Attributes:
        is_honoured: Whether it is known to keep to them.
        accepted: A key that it has accepted a submission under, `None` before.
    """

    is_honoured: bool = False
    accepted: str | None = None


async def look_up(
    exchange: Exchange, key: str, memory: KeyMemory
) -> SubmissionInfo | None:
    """What became of a submission; `None` where there is none under this key.

    Raises:
        UncertainSubmissionError: The deployment cannot tell.
        EngineError: It did not answer.
    """
    try:
        found = await _submission(exchange, key)
    except NotFoundError as error:
        if await _knows_keys(exchange, error, memory):
            return None
        raise UncertainSubmissionError(
            f"{exchange.where}: whether a submission was accepted is not known, and "
            "this deployment does not tell; look at its list of jobs before sending "
            "the rows again",
            idempotency_key=key,
            is_traceable=False,
        ) from None
    memory.is_honoured = True
    return found


async def _knows_keys(
    exchange: Exchange, error: NotFoundError, memory: KeyMemory
) -> bool:
    """Whether "not found" means the key, and not the way to ask about keys."""
    if not memory.is_honoured and error.code == _UNKNOWN_KEY:
        memory.is_honoured = True
    if not memory.is_honoured and memory.accepted is not None:
        try:
            await _submission(exchange, memory.accepted)
        except NotFoundError:
            return False
        memory.is_honoured = True
    return memory.is_honoured


async def _submission(exchange: Exchange, key: str) -> SubmissionInfo:
    path = SUBMISSION.url(idempotency_key=key)
    return parse_submission(await exchange.send(Call(path=path)))


class Submitting:
    """Sends one body under one key until it is known which job it became.

    Concurrency: one task.
    """

    def __init__(
        self, exchange: Exchange, body: Body, *, key: str, memory: KeyMemory
    ) -> None:
        self._exchange = exchange
        self._call = Call(
            path=SUBMIT.url(),
            method=hdrs.METH_POST,
            body=body,
            headers={IDEMPOTENCY_HEADER: key},
        )
        self._key = key
        self._memory = memory

    async def run(self, retry: RetryPolicy, *, was_sent: bool) -> str:
        """The ID of the job.

        Args:
            retry: How often and how late to try again.
            was_sent: Whether this body may have been sent under this key before.

        Raises:
            UncertainSubmissionError: It may or may not have become a job.
            EngineError: It has become none.
        """
        attempts = 0
        is_unknown = was_sent
        while True:
            attempts += 1
            is_sending = False
            try:
                if is_unknown and (job_id := await self._trace()) is not None:
                    return job_id
                is_sending = True
                return await self._send()
            except UncertainSubmissionError:
                raise
            except EngineError as error:
                if is_sending:
                    is_unknown = _may_have_been_taken(error)
                delay_s = retry.delay_s(
                    error, attempts=attempts, rng=self._exchange.rng
                )
                if delay_s is None or _is_conflict(error):
                    raise self._final(error, is_unknown=is_unknown) from error
            await anyio.sleep(delay_s)

    async def _send(self) -> str:
        answer = await self._exchange.send(self._call)
        try:
            job_id = parse_submitted(answer)
        except ProtocolError as error:
            # Whoever wrote this, the deployment may have the submission.
            raise TransportError(f"{self._exchange.where}: {error}") from None
        self._memory.accepted = self._key
        return job_id

    async def _trace(self) -> str | None:
        """The job that an earlier attempt became; `None` to send it again."""
        found = await look_up(self._exchange, self._key, self._memory)
        if found is None or found.is_retryable:
            return None
        if found.job_id is not None:
            self._memory.accepted = self._key
            return found.job_id
        if found.status == "FAILED":
            detail = found.detail or "the deployment gives no reason"
            raise ServiceError(
                f"{self._exchange.where}: the submission failed: {detail}", status=422
            )
        raise ServiceError(
            f"{self._exchange.where}: the submission is still being taken in",
            status=409,
            code=_IN_PROGRESS,
            retry_after_s=_LOOK_AGAIN_S,
        )

    def _final(self, error: EngineError, *, is_unknown: bool) -> EngineError:
        if not is_unknown:
            return error
        return UncertainSubmissionError(
            f"{error}; whether the submission was accepted is not known, but can be "
            "asked later: submit the same again under the same key",
            idempotency_key=self._key,
            is_traceable=True,
        )


def _may_have_been_taken(error: EngineError) -> bool:
    """Whether a job may have come of a request that failed so."""
    if was_not_taken(error) or _is_conflict(error):
        return False
    return is_retryable(error)


def _is_conflict(error: EngineError) -> bool:
    """Whether the key came before with another body."""
    if not isinstance(error, ServiceError) or error.status != 409:
        return False
    return error.code != _IN_PROGRESS
