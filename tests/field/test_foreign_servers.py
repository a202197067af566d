"""Servers that others wrote, restarted in the middle; see `foreign_servers.py`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import pytest

SCRIPT = Path(__file__).with_name("foreign_servers.py")
# Where each server is installed, if it is.
VARIABLES = {
    "litellm": ("SUTRO_STREAM_TEST_LITELLM", "--litellm", "interpreter with litellm"),
    "node-mock": (
        "SUTRO_STREAM_TEST_NODE_MOCK",
        "--node-mock",
        "folder with node_modules/@dwmkerr/mock-llm",
    ),
}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("transport", ["fast", "aiohttp"])
@pytest.mark.parametrize("case", ["litellm", "litellm-backend", "node-mock"])
async def test_no_row_is_lost_or_mistaken(case: str, transport: str) -> None:
    """Two thousand rows, and the server is away for six seconds among them."""
    variable, option, what = VARIABLES[case.removesuffix("-backend")]
    place = os.environ.get(variable)
    if place is None:
        pytest.skip(f"{variable} names no {what}; see {SCRIPT.name}")
    done = await anyio.run_process(
        [
            *(sys.executable, str(SCRIPT), option, place),
            *("--case", case, "--transport", transport),
        ],
        check=False,
        stderr=None,
    )
    outcome = json.loads(done.stdout)
    assert done.returncode == 0, outcome
    assert outcome["answered"] == outcome["rows"] == 2000
    assert outcome["misattributed"] == 0
    assert outcome["asked_again"] <= 1024
