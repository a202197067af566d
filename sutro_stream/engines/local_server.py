"""The process of the embedded engine: llama.cpp's HTTP server on loopback.

It runs as a script of its own and imports nothing of this package, so that it
starts quickly. What it and its parent say to each other: the first line of
standard input is the API key that requests must carry (empty for none); once
requests are answered, one line of JSON on standard output holds the address;
the end of standard input ends the process. Logs go to standard error.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_ERRORS_ONLY = 1
_PROMPT_CACHE_MIB = 64
_LAST_WORDS_S = 0.2
_METADATA_BYTES = 1 << 16


def main() -> None:
    """Serve until standard input ends."""
    options = _options()
    _die_with_parent()
    announcements = _claim_stdout()
    orders = io.FileIO(0, closefd=False)
    api_key = orders.readline().strip().decode("ascii")
    watcher = threading.Thread(target=_exit_at_end, args=(orders,), daemon=True)
    watcher.start()
    try:
        # The server runs as long as the object that holds it.
        server = _server(options, api_key)
    except RuntimeError as error:
        # llama.cpp writes its reasons from a thread that the exit cuts short.
        time.sleep(_LAST_WORDS_S)
        sys.exit(str(error))
    line = json.dumps({"address": server.listening_address}) + "\n"
    os.write(announcements, line.encode())
    os.close(announcements)
    watcher.join()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Serve a GGUF model on 127.0.0.1 until standard input ends."
    )
    parser.add_argument("--model", type=Path, required=True, help="GGUF file")
    parser.add_argument(
        "--parallel", type=int, default=8, help="requests worked on at the same time"
    )
    parser.add_argument(
        "--context", type=int, default=2048, help="window of one request, in tokens"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads to compute in")
    parser.add_argument(
        "--embedding", action="store_true", help="answer with vectors instead of text"
    )
    return parser.parse_args()


def _die_with_parent() -> None:
    # The end of standard input goes unnoticed while another process holds a copy
    # of the pipe (a forked sibling), so Linux is asked as well.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _claim_stdout() -> int:
    """Keep standard output for the address; what others print goes to the log."""
    sys.stdout.flush()
    announcements = os.dup(1)
    os.dup2(2, 1)
    return announcements


def _exit_at_end(orders: io.FileIO) -> None:
    while orders.read(4096):
        pass
    # Nothing here needs saving, and tearing down native threads takes its time.
    os._exit(0)


def _server(options: argparse.Namespace, api_key: str) -> Any:
    # By name, because the runtime is an optional dependency without type hints.
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = [options.model.stem]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key] if api_key else []
    params.ui = False
    params.endpoint_metrics = True
    params.verbosity = _ERRORS_ONLY
    params.n_parallel = options.parallel
    # One memory for all requests computes fastest, but when it is full llama.cpp
    # aborts every running request. It can never be full if each request's share
    # is limited, and there is room for all of them.
    params.kv_unified = True
    params.kv_unified_per_slot = options.context
    params.n_ctx = options.context * options.parallel
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    if options.embedding:
        params.embedding = True
        # Each prompt is computed at once, whatever its length.
        params.n_batch = params.n_ubatch = options.context
        if not _names_pooling(options.model):
            kinds = xllamacpp.llama_pooling_type
            params.pooling_type = kinds.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def _names_pooling(model: Path) -> bool:
    """Whether the file says how its tokens' vectors become one: embedding models do."""
    with model.open("rb") as file:
        return b".pooling_type" in file.read(_METADATA_BYTES)


if __name__ == "__main__":
    main()
