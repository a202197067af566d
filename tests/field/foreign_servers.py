"""Runs through servers that others wrote, each restarted in the middle.

Two servers are known, and neither is part of this project. Install what you want to
try, anywhere:

    python -m venv litellm && litellm/bin/pip install 'litellm[proxy]'
    npm install --prefix node-mock @dwmkerr/mock-llm

and name where they are (nothing is fetched, and the proxy is told not to try):

    python tests/field/foreign_servers.py --litellm litellm/bin/python
    python tests/field/foreign_servers.py --node-mock node-mock

Each server answers two thousand rows over each transport, is killed when a third of
them were asked, and is started again after some seconds; `--case` and `--transport`
choose. Cases are `litellm` (the proxy is killed), `litellm-backend` (what is behind the
proxy is killed, so that the proxy tells of it in its own words) and `node-mock`.

Every answer repeats its prompt, so that a lost row and one with the answer of another
are both seen. One line of JSON tells about each run, and how many requests were sent a
second time; the exit code is 1 if a row was lost, failed or mistaken.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from sutro_stream.testing import read_record

CASES = ("litellm", "litellm-backend", "node-mock")
TRANSPORTS = ("fast", "aiohttp")
# The proxy takes ten seconds to import all it consists of, more on a busy machine.
START_S = 120.0
RUN_S = 300.0
MOCK = "node_modules/@dwmkerr/mock-llm/dist/main.js"
# The proxy is neither to set its endpoint aside nor to ask it again: both are for the
# client to decide here.
PROXY = """\
model_list:
  - model_name: m
    litellm_params:
      model: openai/scripted
      api_base: {backend}
      api_key: none
      max_retries: 0
litellm_settings:
  telemetry: false
  drop_params: true
  num_retries: 0
router_settings:
  num_retries: 0
  disable_cooldowns: true
"""
PROXY_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    # It listens on this machine alone, for a minute.
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOG": "ERROR",
    "NO_PROXY": "127.0.0.1",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to try, and where it is installed."""

    litellm: Path | None
    node_mock: Path | None
    rows: int
    concurrency: str
    away_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one run."""

    case: str
    transport: str
    exit_code: int
    rows: int
    answered: int
    failed: int
    misattributed: int
    asked_again: int
    seconds: float
    said: str
    reasons: Mapping[str, int]

    @property
    def is_right(self) -> bool:
        """Whether every row has the answer to its own prompt."""
        return (self.exit_code, self.answered, self.misattributed) == (0, self.rows, 0)


class Server(Protocol):
    """A server to be restarted.

    Attributes:
        url: Its address, `/v1` included.
    """

    url: str

    def restarting(self) -> None:
        """Kill what this case is about, and start it again after a while."""

    def asked(self) -> int:
        """Requests that have reached the server that answers."""

    def answer_to(self, prompt: str) -> str:
        """What it answers."""


class Process:
    """A program that listens on a port of its own choosing, and can be killed."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = arguments
        self._port = port
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._log.parent,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(
                    f"{self._arguments[0]} did not start to listen:\n"
                    + self._log.read_text(errors="replace")[-4000:]
                )
            time.sleep(0.1)

    def kill(self) -> None:
        """End it, and what it has started, from one moment to the next."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self._port)) == 0


class Litellm:
    """litellm's proxy, and the scripted chat server behind it."""

    def __init__(self, options: Options, folder: Path, *, kills_backend: bool) -> None:
        assert options.litellm is not None
        port, backend_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._away_s = options.away_s
        self._record = folder / "asked.jsonl"
        settings = folder / "proxy.yaml"
        settings.write_text(PROXY.format(backend=f"http://127.0.0.1:{backend_port}/v1"))
        self._backend = Process(
            [
                *(sys.executable, "-m", "sutro_stream.testing.chat_server"),
                *("--port", str(backend_port), "--record", str(self._record)),
            ],
            port=backend_port,
            log=folder / "backend.log",
        )
        self._proxy = Process(
            [
                *(str(options.litellm), "-m", "litellm.proxy.proxy_cli"),
                *("--config", str(settings), "--host", "127.0.0.1"),
                *("--port", str(port), "--telemetry", "False"),
            ],
            port=port,
            log=folder / "proxy.log",
            environment=PROXY_ENVIRONMENT,
        )
        self._killed = self._backend if kills_backend else self._proxy

    @contextmanager
    def running(self) -> Generator[None]:
        """Both run until the block is left."""
        try:
            self._backend.start()
            self._proxy.start()
            yield
        finally:
            self._proxy.kill()
            self._backend.kill()

    def restarting(self) -> None:
        """See `Server`."""
        self._killed.kill()
        time.sleep(self._away_s)
        self._killed.start()

    def asked(self) -> int:
        """See `Server`."""
        return len(read_record(self._record))

    def answer_to(self, prompt: str) -> str:
        """See `Server`."""
        return f"echo: {prompt}"


class NodeMock:
    """The npm package @dwmkerr/mock-llm, which repeats the prompt by itself."""

    def __init__(self, options: Options, folder: Path) -> None:
        assert options.node_mock is not None
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._away_s = options.away_s
        self._log = folder / "mock.log"
        self._server = Process(
            ["node", str(options.node_mock.absolute() / MOCK)],
            port=port,
            log=self._log,
            environment={"HOST": "127.0.0.1", "PORT": str(port)},
        )

    @contextmanager
    def running(self) -> Generator[None]:
        """It runs until the block is left."""
        try:
            self._server.start()
            yield
        finally:
            self._server.kill()

    def restarting(self) -> None:
        """See `Server`."""
        self._server.kill()
        time.sleep(self._away_s)
        self._server.start()

    def asked(self) -> int:
        """See `Server`."""
        return self._log.read_bytes().count(b"POST /v1/chat/completions")

    def answer_to(self, prompt: str) -> str:
        """See `Server`."""
        return prompt


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as finding:
        finding.bind(("127.0.0.1", 0))
        port: int = finding.getsockname()[1]
        return port


def prompt(number: int) -> str:
    """A prompt like no other."""
    return f"row {number}, and nothing but row {number}"


def run_through(
    case: str, transport: str, server: Server, options: Options, folder: Path
) -> Outcome:
    """One run of the command, with a restart when a third of it was asked."""
    rows, output = folder / "rows.csv", folder / "out.parquet"
    numbers = range(options.rows)
    rows.write_text("text\n" + "".join(f'"{prompt(each)}"\n' for each in numbers))
    began_s = time.monotonic()
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "sutro_stream", "run", str(rows)),
            *("--column", "text", "--engine", server.url, "--model", "m"),
            *("--concurrency", options.concurrency, "--transport", transport),
            *("--output", str(output), "--quiet"),
        ],
        stderr=subprocess.PIPE,
    )
    try:
        while server.asked() < options.rows // 3 and command.poll() is None:
            time.sleep(0.02)
        server.restarting()
        _, said = command.communicate(timeout=RUN_S)
    finally:
        command.kill()
    expected = [server.answer_to(prompt(each)) for each in numbers]
    answers: list[str | None] = []
    reasons: Counter[str] = Counter()
    if output.exists():
        table = pq.read_table(output)
        answers = table.column("output").to_pylist()
        reasons.update(
            error[:160] for error in table.column("error").to_pylist() if error
        )
    pairs = zip(answers, expected, strict=bool(answers))
    return Outcome(
        case=case,
        transport=transport,
        exit_code=command.returncode,
        rows=options.rows,
        answered=sum(answer is not None for answer in answers),
        failed=sum(reasons.values()),
        misattributed=sum(given not in (None, wanted) for given, wanted in pairs),
        asked_again=server.asked() - options.rows,
        seconds=round(time.monotonic() - began_s, 1),
        said=said.decode().replace(str(folder), "...")[-400:],
        reasons=dict(reasons.most_common(3)),
    )


def tried(case: str, transport: str, options: Options) -> Outcome:
    """Start the servers of a case, and run the command through them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if case == "node-mock":
            server: Litellm | NodeMock = NodeMock(options, folder)
        else:
            kills_backend = case == "litellm-backend"
            server = Litellm(options, folder, kills_backend=kills_backend)
        with server.running():
            return run_through(case, transport, server, options, folder)


def main() -> int:
    """Try what was asked for, and say how it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--litellm", type=Path, help="interpreter that has litellm[proxy]")
    add("--node-mock", type=Path, help="folder with node_modules/@dwmkerr/mock-llm")
    add("--case", choices=CASES, action="append", help="default: what is installed")
    add("--transport", choices=TRANSPORTS, action="append", help="default: both")
    add("--rows", type=int, default=2000)
    add("--concurrency", default="auto")
    add("--away-s", type=float, default=6.0, help="between kill and new start (6)")
    given = parser.parse_args()
    installed = {
        "litellm": given.litellm is not None,
        "litellm-backend": given.litellm is not None,
        "node-mock": given.node_mock is not None,
    }
    cases = given.case or [case for case in CASES if installed[case]]
    if not cases or not all(installed[case] for case in cases):
        parser.error("say where the servers are: --litellm PYTHON, --node-mock FOLDER")
    options = Options(
        litellm=given.litellm,
        node_mock=given.node_mock,
        rows=given.rows,
        concurrency=given.concurrency,
        away_s=given.away_s,
    )
    is_right = True
    for case in cases:
        for transport in given.transport or TRANSPORTS:
            outcome = tried(case, transport, options)
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
            sys.stdout.flush()
            is_right = is_right and outcome.is_right
    return 0 if is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
