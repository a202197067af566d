"""What goes wrong, and what it costs: every figure that the ledger and limits promise.

All lanes run against the scripted endpoint in a process of its own; the peers that
install run beside the library where they do the same work.

    python benchmarks/faults.py [--lane kills,rate,...]
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Mapping

import anyio
from kills import kills
from machine import describe
from overload import drift, knee, rate
from savings import dedupe, ledger
from tails import order, stragglers

LANES: Mapping[str, Callable[[], Awaitable[None]]] = {
    "kills": kills,
    "rate": rate,
    "drift": drift,
    "knee": knee,
    "stragglers": stragglers,
    "order": order,
    "ledger": ledger,
    "dedupe": dedupe,
}


async def measure(names: list[str]) -> None:
    """Run lanes one after the other."""
    for name in names:
        lane = LANES[name]
        print(f"\n== {name}: {(lane.__doc__ or '').strip()}", flush=True)
        await lane()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lane",
        default=",".join(LANES),
        help=f"one or several of {', '.join(LANES)} (default: all)",
    )
    options = parser.parse_args()
    names = options.lane.split(",")
    unknown = [name for name in names if name not in LANES]
    if unknown:
        parser.error(f"no such lane: {', '.join(unknown)}")
    print(describe())
    anyio.run(measure, names, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
