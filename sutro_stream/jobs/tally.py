"""What the outcomes of a whole job add up to, all its runs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from sutro_stream.pipeline.row_format import RowFormat
from sutro_stream.values.outcomes import ErrorKind, Outcome, RowError
from sutro_stream.values.prompts import PromptBatch


class Tally:
    """A `RowFormat` that counts what goes through it on the way to the file.

    The file is written once, from everything that was ever answered, which is what
    a job is charged for; the counters of a run know that run alone.
    """

    def __init__(self, form: RowFormat) -> None:
        self._form = form
        self._reasons: dict[ErrorKind, RowError] = {}
        self.rows = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self.cut = 0
        self.answered_by: str | None = None
        self.failures: Counter[ErrorKind] = Counter()

    @property
    def schema(self) -> pa.Schema:
        """See `RowFormat`."""
        return self._form.schema

    @property
    def failed_rows(self) -> int:
        """Rows without an answer."""
        return self.failures.total()

    def usual_failure(self) -> RowError | None:
        """One of the most frequent kind, `None` when no row has failed."""
        for kind, _ in self.failures.most_common(1):
            return self._reasons[kind]
        return None

    def kept(self, prompts: PromptBatch) -> pa.RecordBatch:
        """See `RowFormat`."""
        return self._form.kept(prompts)

    def records(
        self, kept: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        """See `RowFormat`."""
        self.rows += len(outcomes)
        for outcome in outcomes:
            self._count(outcome)
        return self._form.records(kept, outcomes)

    def _count(self, outcome: Outcome) -> None:
        error, answer = outcome.error, outcome.answer
        if error is not None:
            self.failures[error.kind] += 1
            self._reasons.setdefault(error.kind, error)
        elif answer is not None:
            self.cut += outcome.is_cut
            self.answered_by = answer.model or self.answered_by
            if answer.usage is not None:
                self.input_tokens += answer.usage.input_tokens
                self.output_tokens += answer.usage.output_tokens
                self.cached_tokens += answer.usage.cached_tokens
