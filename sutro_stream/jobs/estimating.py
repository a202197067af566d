"""What a job would cost: its prompts made, and counted instead of sent."""

from __future__ import annotations

from typing import Any

from sutro_stream.engines.tokenizer import Tokenizer
from sutro_stream.jobs.cost import PromptSample, estimate
from sutro_stream.jobs.progress import LiveProgress
from sutro_stream.jobs.runner import Ending
from sutro_stream.jobs.store import JobTotals
from sutro_stream.jobs.targets import Target
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.job import Job
from sutro_stream.values.prompts import PromptBatch


async def estimate_job(
    job: Job,
    target: Target,
    prompts: Pipeline[Any],
    instructions: Instructions,
    *,
    answer_room: int,
    tokenizer: Tokenizer | None,
    live: LiveProgress,
) -> Ending:
    """Read and render all rows, count the tokens of a sample.

    Args:
        job: Asks for an estimate.
        target: Whose prices count.
        prompts: From the job's rows to its prompts.
        instructions: What requests would share.
        answer_room: Tokens that a row cut to fit leaves for its answer.
        tokenizer: The model's, `None` for none.
        live: Where its counters go.

    Raises:
        SutroStreamError: The rows cannot be read, or the engine is gone.
    """
    sample = PromptSample(job.job_id)
    async with prompts.open(columns=[]) as results:
        while (batch := await results.next_batch()) is not None:
            if isinstance(batch, PromptBatch):
                sample.add(batch.texts.to_pylist())
            live.take(results.statistics())
    window, most_tokens = target.model.window, None
    if job.spec.truncate_rows and window is not None:
        most_tokens = max(1, window - answer_room)
    found = await estimate(
        target.model,
        tokenizer,
        sample,
        system_prompt=instructions.system_prompt,
        most_input_tokens=most_tokens,
    )
    totals = JobTotals(
        rows=found.rows,
        input_tokens=found.input_tokens,
        estimate_usd=found.usd,
        note=found.note,
    )
    return Ending(totals=totals)
