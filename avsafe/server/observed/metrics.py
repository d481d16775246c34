"""Numbers for Prometheus, at an address of their own: never on the port that the public sees.

One address serves all processes that ``avsafe serve`` started, its workers among them: they write
into one folder of mapped files (prometheus_client's multiprocess mode), the parent reads it.
``avsafe work`` alone has its own. What the database knows (jobs by state, entries of the ledger) is
asked at each scrape instead of being counted, so it is right whoever changed it.

Labels have few values: routes as they are declared, states, rule ids of the policy, generators that
the operator offers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avsafe.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SHARED = "PROMETHEUS_MULTIPROC_DIR"
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
_QUICK = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 3600)


class Numbers:
    """The metrics of one process."""

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError:
            raise MissingExtra(
                "Metrics need prometheus_client, not installed here: pip install 'avsafe[serve]'."
            ) from None
        self.registry = CollectorRegistry()
        into: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "avsafe_http_requests_total", "Requests that were answered or given up.",
            ("method", "route", "status"), **into,
        )  # fmt: skip
        self.request_seconds = Histogram(
            "avsafe_http_request_duration_seconds", "From the request to the end of its answer.",
            ("route",), buckets=_QUICK, **into,
        )  # fmt: skip
        self.gauges = {
            name: Gauge(f"avsafe_{name}", text, multiprocess_mode="livesum", **into)
            for name, text in (
                ("uploads_inside", "Uploads that are received, wait or are analysed."),
                ("uploads_waiting", "Uploads that wait for their turn."),
                ("analyses_running", "Uploads that are being analysed."),
            )
        }
        self.refused = Counter(
            "avsafe_uploads_refused_total", "Uploads that were not taken.", ("code",), **into
        )
        self.verdicts = Counter("avsafe_verdicts_total", "Verdicts given.", ("label",), **into)
        self.analysis_seconds = Histogram(
            "avsafe_analysis_duration_seconds", "Of one upload, without waiting.",
            buckets=_SLOW, **into,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "avsafe_stage_duration_seconds", "Of the stages of verifications and jobs.",
            ("work", "stage"), buckets=_SLOW, **into,
        )  # fmt: skip
        self.queued = Counter("avsafe_jobs_queued_total", "Jobs taken in.", ("endpoint",), **into)
        self.attempts = Counter(
            "avsafe_job_attempts_total", "Jobs that a worker took.", ("again",), **into
        )
        self.job_seconds = Histogram(
            "avsafe_job_attempt_duration_seconds", "From claim to end of one attempt.",
            ("task", "generator", "state"), buckets=_SLOW, **into,
        )  # fmt: skip
        self.decisions = Counter(
            "avsafe_decisions_total", "Decisions of the policy on jobs, once for each rule named.",
            ("effect", "rule"), **into,
        )  # fmt: skip
        self.lost = Counter(
            "avsafe_job_leases_lost_total", "Jobs whose lease ran out in a live worker.", **into
        )
        self.errors = Counter("avsafe_errors_total", "Failures of our own.", ("what",), **into)


_numbers: Numbers | None = None


def on() -> Numbers:
    """Count in this process from now on. Raises MissingExtra."""
    global _numbers
    if _numbers is None:
        _numbers = Numbers()
    return _numbers


def on_when_shared() -> None:
    """Count, where the process that started this one shows the numbers."""
    if os.environ.get(SHARED):
        on()


def now() -> Numbers | None:
    """The metrics, when somebody wants them."""
    return _numbers


def method(name: str) -> str:
    """A method as a label: whatever a client invents is one value."""
    return name if name in _METHODS else "other"


# ---------------------------------------------------------------- shown


@contextmanager
def shared_folder() -> Iterator[None]:
    """Where the processes that are started in this block count together. Before the first import of
    prometheus_client, which decides once how it counts."""
    with tempfile.TemporaryDirectory(prefix="avsafe-metrics-") as folder:
        os.environ[SHARED] = folder
        try:
            yield
        finally:
            del os.environ[SHARED]


@contextmanager
def shown(host: str, port: int, collectors: Iterable[Any] = ()) -> Iterator[int]:
    """GET /metrics at an address, in a thread of this process; yields the port.

    Raises UsageError when the address is taken or is none.
    """
    from prometheus_client import start_http_server

    registry = _gathered()
    for one in collectors:
        registry.register(one)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"Metrics cannot be shown at {host}:{port}: {error.strerror or error}. "
            "Choose another --metrics-port or --metrics-host."
        ) from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _gathered() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry
    from prometheus_client.multiprocess import MultiProcessCollector

    if not (folder := os.environ.get(SHARED, "")):
        return on().registry

    class Living(MultiProcessCollector):
        def collect(self) -> Any:
            _forget_dead(Path(folder))
            return super().collect()  # type: ignore[no-untyped-call]

    registry = CollectorRegistry()
    registry.register(Living(None, folder))  # type: ignore[no-untyped-call]
    return registry


def _forget_dead(folder: Path) -> None:
    """Gauges of processes that were killed: what they were doing, nobody does."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = path.stem.rpartition("_")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (PermissionError, ValueError):
            continue
