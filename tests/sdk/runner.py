"""Calls the functions of drivers in the official SDK's environment.

python runner.py GIVEN.json REPORT.json DRIVER.py...

A driver is a file of functions; each is called once, in the order of the file, with
what the test gives, and what it returns, raises and prints becomes an entry of the
report, under the driver's name. They share one process because importing the SDK takes
seconds.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import runpy
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sutro.sdk  # type: ignore[import-not-found]

POLL_S = 0.1


def hurry() -> None:
    """Let the SDK ask for a job's status every 0.1 s instead of every 5 s.

    Nothing else of it is touched.
    """

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, POLL_S))

    sutro.sdk.time = SimpleNamespace(
        sleep=sleep, time=time.time, monotonic=time.monotonic
    )


def entry(function: Callable[[dict[str, Any]], object], given: dict[str, Any]) -> Any:
    """What one function returns, raises and prints."""
    said = io.StringIO()
    value: object = None
    error: str | None = None
    started_s = time.monotonic()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            value = function(given)
        except BaseException:  # noqa: BLE001 - SystemExit is an outcome as well
            error = traceback.format_exc()
    took_s = time.monotonic() - started_s
    return {"value": value, "error": error, "said": said.getvalue(), "took_s": took_s}


def entries(driver: Path, given: dict[str, Any]) -> Any:
    """What the functions of one driver return, raise and print, by their names."""
    return {
        name: entry(function, given)
        for name, function in runpy.run_path(str(driver), run_name=driver.stem).items()
        if inspect.isfunction(function)
        and function.__module__ == driver.stem
        and not name.startswith("_")
    }


def main() -> None:
    """Run from the command line."""
    given_path, report_path, *drivers = map(Path, sys.argv[1:])
    given = json.loads(given_path.read_bytes())
    hurry()
    report = {driver.stem: entries(driver, given) for driver in drivers}
    report_path.write_text(json.dumps(report, default=str))


if __name__ == "__main__":
    main()
