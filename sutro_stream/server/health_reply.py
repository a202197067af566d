"""A deployment's health as JSON, for whoever watches the server."""

from __future__ import annotations

from typing import Any

from sutro_stream.jobs.health import Health
from sutro_stream.values.job import JobState
from sutro_stream.wire import replies


def health_reply(health: Health) -> dict[str, Any]:
    """What `/healthz` says; it holds nothing of any account."""
    counts = {**health.jobs, **health.ended}
    return {
        **replies.healthy(),
        "accepts_jobs": health.has_room,
        "jobs": {state.value: counts.get(state, 0) for state in JobState},
        "models": {
            name: {
                "engine": model.engine,
                "slots": model.slots,
                "limit": model.limit,
                "used": model.used,
                "waiting": model.waiting,
            }
            for name, model in health.models.items()
        },
        "loop_lag_ms": {
            "p50": _ms(health.lag.p50_s),
            "p99": _ms(health.lag.p99_s),
            "max": _ms(health.lag.max_s),
        },
        "disk": {
            "free_bytes": health.disk_free_bytes,
            "floor_bytes": health.disk_floor_bytes,
        },
    }


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 1)
