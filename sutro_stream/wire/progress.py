"""Lines of the progress stream.

Clients end on a line that is no object, has no `update_type`, or has a null where a
number belongs; nothing here can make one.
"""

from __future__ import annotations

import math

import orjson

from sutro_stream.values.job import JobProgress

CONTENT_TYPE = "application/x-ndjson"

HEARTBEAT = b'{"update_type":"heartbeat"}\n'
"""Says that the job is still there; makes some clients ask for its status."""


def progress_line(rows: int) -> bytes:
    """Rows with an outcome so far; the last one is the number of all rows."""
    return b'{"update_type":"progress","result":%d}\n' % rows


def tokens_line(progress: JobProgress) -> bytes:
    """Tokens so far and the rate of late."""
    rate = progress.tokens_per_s
    result = {
        "input_tokens": progress.input_tokens,
        "output_tokens": progress.output_tokens,
        "total_tokens_processed_per_second": (
            round(float(rate), 2) if math.isfinite(rate) else 0.0
        ),
    }
    return orjson.dumps({"update_type": "tokens", "result": result}) + b"\n"
