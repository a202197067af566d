"""What every prompt of a run shares."""

from __future__ import annotations

from dataclasses import dataclass

from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """The part of a request that is equal for all rows.

    Attributes:
        model: Model asked for; `None` leaves it to the engine, whose own explicit
            model wins over this one.
        system_prompt: System message, `None` for none.
        schema: Shape the answer must have, `None` for free text.
        sampling: Sampling parameters.
    """

    model: str | None = None
    system_prompt: str | None = None
    schema: OutputSchema | None = None
    sampling: SamplingParams = SamplingParams()
