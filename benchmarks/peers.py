"""Other libraries at the same work, each in an environment of its own.

An environment is made on first use, in a cache folder; a peer that cannot be installed
is left out, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
from anyio.abc import Process
from systems.child import Work

_INSTALL_S = 600
_RUN_S = 300
_RETRIES = 4  # five requests for a row at most, as ours by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another library.

    Attributes:
        name: As it is shown, without its version.
        key: Of its environment and of its program, `systems/peer_KEY.py`.
        packages: What its environment holds, pinned; the library comes first.
        resumes: Whether it goes on after a crash.
        is_fault_lane: Whether `faults.py` and `kills.py` run it as well.
    """

    name: str
    key: str
    packages: tuple[str, ...]
    resumes: bool = False
    is_fault_lane: bool = False

    @property
    def version(self) -> str:
        """Of the library."""
        return self.packages[0].partition("==")[2]

    @property
    def folder(self) -> Path:
        """Its environment."""
        digest = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()
        return cache_folder() / f"{self.key}-{digest[:8]}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        if sys.platform == "win32":
            return self.folder / "Scripts" / "python.exe"
        return self.folder / "bin" / "python"


_OPENAI = "openai==3.54.0"
_AIOHTTP = "aiohttp==3.14.5"

PEERS = (
    Peer(
        name="AsyncOpenAI + gather",
        key="openai",
        packages=(_OPENAI,),
        is_fault_lane=True,
    ),
    Peer(
        name="flexllm",
        key="flexllm",
        packages=("flexllm==0.17.10",),
        resumes=True,
        is_fault_lane=True,
    ),
    # aiofiles and httpx: what its inference needs and does not declare. Without one it
    # waits for ever, without the other it loses every answer and reports success.
    Peer(
        name="datatrove",
        key="datatrove",
        packages=(
            "datatrove[io,processing]==0.10.1",
            _AIOHTTP,
            "aiofiles==25.1.0",
            "httpx==0.28.1",
        ),
    ),
    Peer(
        name="Ray Data",
        key="ray",
        packages=("ray[data]==2.60.0", _AIOHTTP, _OPENAI, "pandas"),
    ),
    Peer(name="Curator", key="curator", packages=("bespokelabs-curator==0.1.31",)),
    Peer(name="litellm", key="litellm", packages=("litellm==1.106.0",)),
    Peer(
        name="Daft prompt",
        key="daft",
        packages=("daft==0.7.26", _OPENAI, "pydantic==2.14.3", "numpy"),
    ),
)
# Draws the suite's pictures.
CHARTS = Peer(name="matplotlib", key="charts", packages=("matplotlib==3.11.2",))


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
    """Peers of the fault lanes; those that cannot be run are named with the reason."""
    usable = []
    for peer in PEERS:
        if not peer.is_fault_lane:
            continue
        reason = why_missing(peer)
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
    command = peer_command(
        peer, base_url, rows=rows, concurrency=concurrency, output=output
    )
    with anyio.fail_after(_RUN_S):
        done = await anyio.run_process(command, stderr=subprocess.DEVNULL)
    found = json.loads(done.stdout.splitlines()[-1])
    return PeerRun(answered=found["answered"], seconds=found["seconds"])


async def kill_peer(process: Process) -> None:
    """End it as a crash would."""
    process.kill()
    await process.wait()


def peer_command(
    peer: Peer, base_url: str, *, rows: int, concurrency: int, output: Path | None
) -> list[str]:
    """How it is started, over rows that have each a prompt of its own."""
    prompts = cache_folder() / f"texts-{rows}.txt"
    prompts.write_text("".join(f"text {number}\n" for number in range(rows)))
    work = Work(
        base_url=base_url,
        rows=rows,
        concurrency=concurrency,
        table="",
        prompts_file=str(prompts),
        folder="",
        warm_rows=1,
        options={
            "retries": _RETRIES,
            "output": None if output is None else str(output),
        },
    )
    path = f"PYTHONPATH={Path(__file__).parent}"
    module = f"systems.peer_{peer.key}"
    return ["env", path, str(peer.python), "-m", module, json.dumps(asdict(work))]


def why_missing(peer: Peer) -> str | None:
    """Why it cannot be run; installs it when it is not there yet."""
    ready = peer.folder / "ready"
    if ready.exists():
        return None
    print(f"installing {peer.name} into {peer.folder}", flush=True)
    started_s = time.monotonic()
    install = [str(peer.python), "-m", "pip", "install", "--quiet", *peer.packages]
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
    compiling = [str(peer.python), "-m", "compileall", "-q", str(peer.folder)]
    subprocess.run(compiling, check=False, capture_output=True)
    frozen = subprocess.run(
        [str(peer.python), "-m", "pip", "freeze"], check=False, capture_output=True
    )
    ready.write_bytes(frozen.stdout)
    return None
