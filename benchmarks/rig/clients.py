"""Who is measured at an endpoint: ours, bare clients, peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peers import Peer

from rig.laps import System

OURS = "sutro_stream"
OVER_AIOHTTP = f"{OURS} over aiohttp"
PERSON = "aiohttp pool, as written"
TUNED = "aiohttp pool, tuned"
WIRE = "bare protocol pool"
EVERYTHING: Mapping[str, Any] = {"form": "file", "ordered": True, "schema": True}


def ours(name: str, rows: int, **options: Any) -> System:
    """The library, over the transport that is the default.

    Args:
        name: Of this way to use it.
        rows: How many.
        options: As in `systems/ours.py`.
    """
    return System(name=f"{OURS}, {name}", module="ours", rows=rows, options=options)


def ours_over_aiohttp(name: str, rows: int, **options: Any) -> System:
    """The library over aiohttp, for what is compared with others over aiohttp."""
    options = {**options, "transport": "aiohttp"}
    return System(
        name=f"{OVER_AIOHTTP}, {name}", module="ours", rows=rows, options=options
    )


def person(rows: int) -> System:
    """A pool over aiohttp as a person writes it."""
    return System(
        name=PERSON, module="aiohttp_pool", rows=rows, options={"tuned": False}
    )


def tuned(rows: int) -> System:
    """A pool over aiohttp with every trick."""
    return System(name=TUNED, module="aiohttp_pool", rows=rows, options={"tuned": True})


def wire(rows: int) -> System:
    """The limit for a client in Python."""
    return System(name=WIRE, module="protocol_pool", rows=rows)


def peer_systems(peer: Peer, rows: int, laps: int | None) -> list[System]:
    """A peer, once for each way it has."""
    ways: Mapping[str, Mapping[str, object]] = {peer.name: {}}
    if peer.key == "ray":
        ways = {
            f"{peer.name}, async actor": {"way": "actor"},
            f"{peer.name}, HTTP processor": {"way": "processor"},
        }
    return [
        System(
            name=name,
            module=f"peer_{peer.key}",
            rows=rows,
            options=options,
            python=peer.python,
            version=peer.version,
            laps=laps,
            is_peer=True,
            whole_tree=peer.key in ("ray", "curator"),
        )
        for name, options in ways.items()
    ]
