"""Numbers about a deployment in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aiohttp import hdrs, web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sutro_stream.engines.request_counts import RESULTS
from sutro_stream.jobs.health import Health, ModelHealth
from sutro_stream.values.job import JobState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Whatever else a stranger makes up must not become a series of its own.
_METHODS = hdrs.METH_ALL - {hdrs.METH_ANY}


class Metrics:
    """What is counted at the surface, beside what the deployment says of itself.

    Concurrency: one event loop.
    """

    def __init__(self) -> None:
        """Nothing counted; the registry belongs to one application."""
        self._registry = registry = CollectorRegistry()
        self._answered = Counter(
            "sutro_http_requests",
            "Requests by how they were answered; 499 where the client left.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "sutro_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._under_way = Gauge(
            "sutro_http_requests_in_progress",
            "Requests that are received, worked on or answered now.",
            ("route",),
            registry=registry,
        )
        ProcessCollector(registry=registry)

    def began(self, route: str) -> None:
        """Count a request whose head has come."""
        self._under_way.labels(route).inc()

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count its end."""
        self._under_way.labels(route).dec()
        self._answered.labels(route, method_of(method), str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self, health: Health) -> bytes:
        """All of it, as Prometheus reads it."""
        snapshot = CollectorRegistry()
        snapshot.register(_Snapshot(health))
        return generate_latest(self._registry) + generate_latest(snapshot)


def method_of(method: str) -> str:
    """The method's own name, if it is one of HTTP's."""
    return method if method in _METHODS else "other"


METRICS = web.AppKey("METRICS", Metrics)


class _Snapshot(Collector):
    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """The deployment's own numbers."""
        health = self._health
        yield from _jobs(health)
        yield from _models(health)
        lag = GaugeMetricFamily(
            "sutro_event_loop_lag_seconds",
            "How late the event loop ran what was due, in the last minute.",
            labels=("quantile",),
        )
        for quantile, seconds in (
            ("0.5", health.lag.p50_s),
            ("0.99", health.lag.p99_s),
            ("1", health.lag.max_s),
        ):
            lag.add_metric((quantile,), seconds)
        yield lag
        yield GaugeMetricFamily(
            "sutro_disk_free_bytes",
            "Free space for the data folder.",
            health.disk_free_bytes,
        )
        yield GaugeMetricFamily(
            "sutro_disk_floor_bytes",
            "Free space below which no job is accepted.",
            health.disk_floor_bytes,
        )


def _jobs(health: Health) -> Iterator[Metric]:
    now = GaugeMetricFamily(
        "sutro_jobs", "Jobs that have not ended; QUEUED wait.", labels=("state",)
    )
    ended = CounterMetricFamily(
        "sutro_jobs_ended", "Jobs that have ended.", labels=("state",)
    )
    for state in JobState:
        if state.is_final:
            ended.add_metric((state.value,), health.ended.get(state, 0))
        else:
            now.add_metric((state.value,), health.jobs.get(state, 0))
    yield now
    yield ended


def _models(health: Health) -> Iterator[Metric]:
    gauges: Mapping[str, tuple[str, Callable[[ModelHealth], int]]] = {
        "engine_open": (
            "Whether the model's engine is open.",
            lambda model: model.engine == "open",
        ),
        "slots": ("Requests it takes at once.", lambda model: model.slots or 0),
        "slots_limit": (
            "Requests it is sent at once now, so that this process keeps up.",
            lambda model: model.limit or 0,
        ),
        "slots_used": ("Requests in flight.", lambda model: model.used),
        "waiting": ("Rows and Function runs to be sent.", lambda model: model.waiting),
    }
    for name, (text, number) in gauges.items():
        gauge = GaugeMetricFamily(f"sutro_model_{name}", text, labels=("model",))
        for model, found in health.models.items():
            gauge.add_metric((model,), number(found))
        yield gauge
    yield from _model_counters(health)


def _model_counters(health: Health) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "sutro_model_requests",
        "Requests to the model by how they ended; rate_limited for status 429.",
        labels=("model", "result"),
    )
    rows = CounterMetricFamily(
        "sutro_model_rows", "Rows of jobs.", labels=("model", "result")
    )
    tokens = CounterMetricFamily(
        "sutro_model_tokens",
        "Tokens as counted by the engine.",
        labels=("model", "kind"),
    )
    retries = CounterMetricFamily(
        "sutro_model_retries", "Requests beyond a row's first.", labels=("model",)
    )
    for name, model in health.models.items():
        done = model.activity
        for result in RESULTS:
            requests.add_metric((name, result), done.requests.by_result[result])
        rows.add_metric((name, "answered"), done.rows_answered)
        rows.add_metric((name, "failed"), done.rows_failed)
        tokens.add_metric((name, "input"), done.requests.input_tokens)
        tokens.add_metric((name, "output"), done.requests.output_tokens)
        retries.add_metric((name,), done.retries)
    yield from (requests, rows, tokens, retries)
