"""Lines of the progress stream: always objects, always numbers."""

from __future__ import annotations

import json
import math

import pytest

from sutro_stream.values.job import JobProgress
from sutro_stream.wire.progress import HEARTBEAT, progress_line, tokens_line


def test_lines_are_as_documented() -> None:
    """Byte for byte."""
    progress = JobProgress(input_tokens=120, tokens_per_s=60.0)
    assert progress_line(0) == b'{"update_type":"progress","result":0}\n'
    assert tokens_line(progress) == (
        b'{"update_type":"tokens","result":{"input_tokens":120,"output_tokens":0,'
        b'"total_tokens_processed_per_second":60.0}}\n'
    )
    assert HEARTBEAT == b'{"update_type":"heartbeat"}\n'


@pytest.mark.parametrize("rate", [math.inf, math.nan, 0, 1 / 3, 1e300])
def test_a_rate_is_always_a_number(rate: float) -> None:
    """A null would end the client."""
    line = json.loads(tokens_line(JobProgress(tokens_per_s=rate)))
    assert isinstance(line["result"]["total_tokens_processed_per_second"], float)


def test_rows_are_a_whole_number() -> None:
    """Of any size."""
    assert json.loads(progress_line(10**6))["result"] == 10**6
