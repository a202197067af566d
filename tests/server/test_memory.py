"""A deployment's memory does not grow with its jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

import sutro_stream

BENCHMARK = (
    Path(sutro_stream.__file__).parents[1] / "benchmarks" / "deployment_memory.py"
)


@pytest.mark.long
@pytest.mark.timeout(5400)
async def test_a_million_rows_fit_into_500_mib() -> None:
    """From the submission to the last byte of the downloaded results."""
    command = [sys.executable, str(BENCHMARK), "--rows=1000000", "--limit-mb=500"]
    result = await anyio.run_process(command, check=False, stdout=None, stderr=None)
    assert result.returncode == 0
