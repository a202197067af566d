"""What a program of ours sets for its process: the memory that it keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pyarrow as pa
import pytest

ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
# A command, and what is loaded for its work afterwards.
COMMAND = """
from sutro_stream.cli import main
main(["--version"])
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""
# Large blocks are freed, all but each tenth; sizes like theirs were freed before.
LARGE_BLOCKS = """
import os
from sutro_stream.cli.process import suit_streaming

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

suit_streaming()
bytearray(16 << 20)
before = resident_mib()
blocks = [bytearray(4 << 20) for _ in range(50)]
full = resident_mib()
blocks[:] = blocks[9::10]
print(full - before, resident_mib() - before)
"""


def output_of(program: str, environment: Mapping[str, str] | None = None) -> str:
    """What a Python program prints in a process whose allocator nobody has chosen."""
    kept = {name: value for name, value in os.environ.items() if name != ALLOCATOR}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=kept | dict(environment or {}),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def test_a_command_takes_the_allocator_that_gives_memory_back() -> None:
    """Nothing that the command loads before has brought Arrow up already."""
    wanted = "jemalloc" if sys.platform == "linux" else "system"
    if wanted not in pa.supported_memory_backends():
        pytest.skip(f"this build of Arrow has no {wanted}")
    assert output_of(COMMAND).split()[-1] == wanted


def test_an_allocator_that_somebody_chose_stays() -> None:
    """The environment is the user's word."""
    others = set(pa.supported_memory_backends()) - {"jemalloc"}
    if not others:
        pytest.skip("this build of Arrow has one allocator")
    chosen = min(others)
    assert output_of(COMMAND, {ALLOCATOR: chosen}).split()[-1] == chosen


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_large_blocks_go_back_to_the_system_when_they_are_freed() -> None:
    """Whatever lies behind them, and whatever sizes were freed before."""
    full_mib, left_mib = map(int, output_of(LARGE_BLOCKS).split())
    assert full_mib > 190
    assert left_mib < 30
