"""Other libraries at the same work, each in an environment of its own.

An environment is made on first use, in a cache folder; a peer that cannot be installed
is left out, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

_INSTALL_S = 600
_RUN_S = 300
_READY = b"ready"


@dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        name: As it is shown, with its settings.
        packages: What its environment holds, pinned.
        script: Runs it; see `peer_openai.py`.
        resumes: Whether it goes on after a crash.
    """

    name: str
    packages: tuple[str, ...]
    script: str
    resumes: bool = False

    @property
    def folder(self) -> Path:
        """Its environment."""
        return cache_folder() / "-".join(self.packages).replace("=", "")


PEERS = (
    Peer("AsyncOpenAI + gather", ("openai==3.54.0",), "peer_openai.py"),
    Peer("flexllm", ("flexllm==0.17.10",), "peer_flexllm.py", resumes=True),
)


@dataclass(frozen=True)
class PeerRun:
    """What a peer did.

    Attributes:
        answered: Rows with an answer.
        seconds: From the first request on, without start-up.
    """

    answered: int
    seconds: float


def cache_folder() -> Path:
    """Where environments of peers are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "sutro-stream-benchmarks"


def installed() -> list[Peer]:
    """The peers that can be run; those that cannot are named with the reason."""
    usable = []
    for peer in PEERS:
        reason = _missing(peer)
        if reason is None:
            usable.append(peer)
        else:
            print(f"left out: {peer.name} ({reason})")
    return usable


async def run_peer(
    peer: Peer, base_url: str, *, rows: int, concurrency: int, output: Path | None
) -> PeerRun:
    """Ask for every row with it.

    Args:
        peer: Which one; installed.
        base_url: Of the endpoint.
        rows: Rows with prompts of their own.
        concurrency: Requests in flight.
        output: File that it may resume from, `None` for none.
    """
    command = peer_command(peer, base_url, rows=rows, concurrency=concurrency)
    if output is not None:
        command.append(str(output))
    with anyio.fail_after(_RUN_S):
        done = await anyio.run_process(command, stderr=subprocess.DEVNULL)
    found = json.loads(done.stdout.splitlines()[-1])
    return PeerRun(answered=found["answered"], seconds=found["seconds"])


async def kill_peer(process: Process) -> None:
    """End it as a crash would."""
    process.kill()
    await process.wait()


def peer_command(
    peer: Peer, base_url: str, *, rows: int, concurrency: int
) -> list[str]:
    """How it is started."""
    script = Path(__file__).with_name(peer.script)
    return [str(_python(peer)), str(script), base_url, str(rows), str(concurrency)]


def _missing(peer: Peer) -> str | None:
    """Why it cannot be run; installs it when it is not there yet."""
    ready = peer.folder / "ready"
    if ready.exists():
        return None
    print(f"installing {peer.name} into {peer.folder}", flush=True)
    started_s = time.monotonic()
    install = [str(_python(peer)), "-m", "pip", "install", "--quiet", *peer.packages]
    try:
        for command in ([sys.executable, "-m", "venv", str(peer.folder)], install):
            left_s = _INSTALL_S - (time.monotonic() - started_s)
            subprocess.run(command, check=True, capture_output=True, timeout=left_s)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {error.returncode}"
    except subprocess.TimeoutExpired:
        return f"not installed within {_INSTALL_S} seconds"
    # Lazy compilation would make its first run look slower than it is.
    compiling = [str(_python(peer)), "-m", "compileall", "-q", str(peer.folder)]
    subprocess.run(compiling, check=False, capture_output=True)
    ready.touch()
    return None


def _python(peer: Peer) -> Path:
    if sys.platform == "win32":
        return peer.folder / "Scripts" / "python.exe"
    return peer.folder / "bin" / "python"
