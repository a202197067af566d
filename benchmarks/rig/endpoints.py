"""Endpoints as the suite sees them: started, watched, ended."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psutil

from rig.answers import COMPLETION

BENCHMARKS = Path(__file__).resolve().parent.parent
_START_S = 20.0
_NGINX = (
    "nginx",
    "/usr/sbin/nginx",
    "/usr/local/sbin/nginx",
    "/opt/homebrew/bin/nginx",
)
_CONFIG = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{answer}'; }}
    location = /v1/models {{ return 200 '{{"object":"list","data":[]}}'; }}
    location = /statistics {{ stub_status; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an endpoint has seen since its last reset.

    Attributes:
        requests: Requests for an answer; nginx counts those for statistics as well,
            which are taken off.
        connections: Open now, ours not counted.
        answered: Requests answered, `None` where it does not tell.
        peak_in_flight: Most at any moment, `None` where it does not count.
        busy_s: Seconds of service, over all requests.
    """

    requests: int
    connections: int
    answered: int | None = None
    peak_in_flight: int | None = None
    busy_s: float = 0.0


class Endpoint(Protocol):
    """Where requests go."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def base_url(self) -> str:
        """Up to `/v1`."""

    @property
    def reset_url(self) -> str | None:
        """Posted to before a clock starts, `None` where nothing can be reset."""

    def look(self) -> Seen:
        """What it has seen; called by one thread."""

    def cpu_s(self) -> float:
        """Its processor time since its start."""


class _Watched:
    """An endpoint's address, and a connection of ours to its statistics."""

    def __init__(self, name: str, base_url: str, pid: int) -> None:
        self.name, self.base_url = name, base_url
        self._process = psutil.Process(pid)
        place = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(place.netloc, timeout=30)

    def statistics(self) -> bytes:
        """As it tells them."""
        self._connection.request("GET", "/statistics")
        return self._connection.getresponse().read()

    def cpu_s(self) -> float:
        """See `Endpoint`."""
        whole = [self._process, *self._process.children()]
        return sum(sum(process.cpu_times()[:2]) for process in whole)


class Scripted(_Watched):
    """`scripted_endpoint.py` in a process of its own."""

    @property
    def reset_url(self) -> str | None:
        """See `Endpoint`."""
        return self.base_url.removesuffix("/v1") + "/reset"

    def look(self) -> Seen:
        """See `Endpoint`."""
        told = json.loads(self.statistics())
        return Seen(
            requests=told["requests"],
            answered=told["answered"],
            connections=told["connections"] - 1,
            peak_in_flight=told["peak_in_flight"],
            busy_s=told["busy_s"],
        )


class Nginx(_Watched):
    """The server nginx, answering at once.

    It counts requests and connections, not what is in flight; an HTTP/1.1 connection
    carries one request at a time.
    """

    def __init__(self, base_url: str, pid: int) -> None:
        super().__init__("nginx", base_url, pid)
        self._looks = 0

    @property
    def reset_url(self) -> str | None:
        """See `Endpoint`."""
        return None

    def look(self) -> Seen:
        """See `Endpoint`."""
        words = self.statistics().split()
        self._looks += 1
        return Seen(requests=int(words[9]) - self._looks, connections=int(words[2]) - 1)


@contextmanager
def scripted_endpoint(
    *, latency_ms: float = 0.0, tail_seed: int | None = None
) -> Iterator[Endpoint]:
    """An endpoint that waits as long for every request, or as a seed says."""
    command = [sys.executable, "-m", "rig.scripted_endpoint"]
    command.append(f"--latency-ms={latency_ms}")
    if tail_seed is not None:
        command.append(f"--tail-seed={tail_seed}")
    with subprocess.Popen(
        command, cwd=BENCHMARKS, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            told = json.loads(process.stdout.readline())
            yield Scripted("scripted", told["base_url"], process.pid)
        finally:
            process.terminate()


@contextmanager
def instant_endpoint() -> Iterator[Endpoint]:
    """nginx; where there is none, a scripted one, with a warning."""
    program = next((path for name in _NGINX if (path := shutil.which(name))), None)
    if program is None:
        print(
            "WARNING: no nginx on this machine (Debian: apt install nginx-light): a "
            "Python endpoint answers instead, which slows the fastest clients down"
        )
        with scripted_endpoint() as endpoint:
            yield endpoint
        return
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        config = Path(folder) / "nginx.conf"
        answer = COMPLETION.replace("\\", "\\\\")
        config.write_text(_CONFIG.format(folder=folder, port=port, answer=answer))
        command = [
            program,
            "-p",
            folder,
            "-c",
            str(config),
            "-e",
            f"{folder}/start.log",
        ]
        with subprocess.Popen(command) as process:
            try:
                yield _answering(Nginx(f"http://127.0.0.1:{port}/v1", process.pid))
            finally:
                process.terminate()


def _answering(endpoint: Nginx) -> Nginx:
    """The endpoint, once it answers as it shall."""
    place = urlsplit(endpoint.base_url)
    until_s = time.monotonic() + _START_S
    while True:
        connection = http.client.HTTPConnection(place.netloc, timeout=5)
        try:
            connection.request("POST", "/v1/chat/completions", body=b"{}")
            body = connection.getresponse().read()
            if body.decode() != COMPLETION:
                raise SystemExit(f"nginx does not answer as it should: {body!r}")
        except ConnectionError:
            if time.monotonic() > until_s:
                raise SystemExit("nginx did not start") from None
            time.sleep(0.05)
        else:
            return endpoint
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
