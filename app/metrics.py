"""What is counted while the page runs, for `/metrics` in the form that Prometheus reads. No picture, no address."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("memorywrap_requests", "Answered requests", ["route", "status"])
SECONDS = Histogram(
    "memorywrap_request_seconds",
    "Time until an answer begins",
    ["route"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
REFUSED = Counter("memorywrap_refused", "Requests that were not let in", ["status"])
BATCH = Histogram(
    "memorywrap_batch_items", "Items done together", ["lane"], buckets=(1, 2, 4, 8, 16, 32, 64)
)
WORK = Counter("memorywrap_work_seconds", "Time that the model was at work", ["lane"])
WAITING = Gauge("memorywrap_waiting", "Items that wait", ["lane"])


def of_lane(name: str) -> Callable[[int, float], None]:
    """What a lane tells of its batches."""
    items, seconds = BATCH.labels(name), WORK.labels(name)

    def seen(count: int, taken: float) -> None:
        items.observe(count)
        seconds.inc(taken)

    return seen
