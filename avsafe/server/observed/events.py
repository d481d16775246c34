"""What happens, told once: each function here makes the log line, the numbers and the spans."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from avsafe.server.observed import context, metrics, traces
from avsafe.server.plain import where

if TYPE_CHECKING:
    from avsafe.server.jobs import Job
    from avsafe.types import Progress, Verdict

_log = logging.getLogger("avsafe.server")
# Stages as the gate and the verification name them; a generator's own may be of any text.
VERIFY = frozenset({"credential", "sandbox", "marks", "fingerprint", "detectors"})
JOB = {"decide": "decide", "generate": "generate", "encode_and_mark": "mark",
       "sign": "sign", "verify": "verify", "release": "release"}  # fmt: skip


_GOES_ON = {"queued": "job given back", "running": "job put off"}  # to another attempt


class Stages:
    """Turns the stages that a long call reports into spans and seconds; a Progress.

    One stage ends where the next begins; the last one with the block.
    """

    def __init__(self, work: str) -> None:
        self._work, self._name = work, ""
        self._known = {n: n for n in VERIFY} if work == "verify" else JOB
        self._began = 0.0
        self._span: Any = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, _fraction: float, stage: str) -> None:
        name = self._known.get(stage, "")
        if not name or name == self._name:
            return
        self._end()
        self._name, self._began = name, time.monotonic()
        self._span = traces.begin(f"{self._work} {name}")

    def _end(self) -> None:
        if not self._name:
            return
        if (numbers := metrics.now()) is not None:
            seconds = time.monotonic() - self._began
            numbers.stage_seconds.labels(self._work, self._name).observe(seconds)
        if self._span is not None:
            self._span.end()
        self._name, self._span = "", None


def each(*listeners: Progress) -> Progress:
    """One Progress that several hear."""

    def tell(fraction: float, stage: str) -> None:
        for listener in listeners:
            listener(fraction, stage)

    return tell


# ---------------------------------------------------------------- uploads


@contextmanager
def counted(gauge: str) -> Iterator[None]:
    """One more of ``uploads_inside``, ``uploads_waiting``, ``analyses_running``, in this block."""
    numbers = metrics.now()
    if numbers is not None:
        numbers.gauges[gauge].inc()
    try:
        yield
    finally:
        if numbers is not None:
            numbers.gauges[gauge].dec()


def failed(what: str, error: BaseException) -> None:
    """Something of ours broke (``request``, ``analysis``): its kind and place, not its sentence."""
    if (numbers := metrics.now()) is not None:
        numbers.errors.labels(what).inc()
    _log.error("%s failed: %s", what, where(error))


def refused(code: str) -> None:
    """An upload was not taken; ``code`` is one of BadUpload's."""
    if (numbers := metrics.now()) is not None:
        numbers.refused.labels(code).inc()
    _log.info("upload refused", extra={"code": code})


def verdict(found: Verdict, seconds: float) -> None:
    """An upload was analysed. Its verdict is counted and not written down: a line could be laid
    beside a proxy's, which knows who asked."""
    if (numbers := metrics.now()) is not None:
        numbers.verdicts.labels(str(found.label)).inc()
        numbers.analysis_seconds.observe(seconds)
    _log.info("upload analysed", extra={"seconds": round(seconds, 3)})


# ---------------------------------------------------------------- jobs


def queued(job: Job) -> None:
    """A job was taken into the queue."""
    if (numbers := metrics.now()) is not None:
        numbers.queued.labels(job.endpoint).inc()
    traces.queued(job.id)
    with context.held(context.job_id, job.id):
        _log.info("job queued", extra=_of(job))


class Attempt:
    """One attempt at a job; ``ended`` or ``lost`` says how it went."""

    def __init__(self, job: Job, span: Any) -> None:
        self._job, self._span, self._began = job, span, time.monotonic()

    def ended(self, after: Job | None) -> None:
        """``after`` is the job as it stands now; None when it was deleted meanwhile."""
        state = after.state if after is not None else "deleted"
        decision = (after.decision or {}) if after is not None else {}
        effect, rules = decision.get("effect", ""), tuple(decision.get("rules", ()))
        seconds = self._tell(state)
        numbers = metrics.now()
        if numbers is not None and effect and state not in _GOES_ON:
            for rule in rules:
                numbers.decisions.labels(effect, rule).inc()
        more: dict[str, Any] = {"state": state, "seconds": seconds}
        more |= {"effect": effect, "rules": rules} if effect else {}
        if after is not None and after.error is not None:
            more["code"] = str(after.error.get("code", ""))
        _log.info(_GOES_ON.get(state, "job ended"), extra=more)

    def lost(self) -> None:
        """Its lease ran out, and another worker has it."""
        if (numbers := metrics.now()) is not None:
            numbers.lost.inc()
        _log.warning("job lost to another worker", extra={"seconds": self._tell("lost")})

    def _tell(self, state: str) -> float:
        seconds = time.monotonic() - self._began
        task, generator = (
            str(self._job.request.get("task")),
            str(self._job.request.get("generator")),
        )
        if (numbers := metrics.now()) is not None:
            numbers.job_seconds.labels(task, generator, state).observe(seconds)
        if self._span is not None:
            self._span.set_attribute("avsafe.job.state", state)
        return round(seconds, 3)


@contextmanager
def attempt(job: Job) -> Iterator[Attempt]:
    """A worker has taken a job."""
    if (numbers := metrics.now()) is not None:
        numbers.attempts.labels("yes" if job.attempts > 1 else "no").inc()
    told: dict[str, Any] = {"avsafe.job.id": job.id, "avsafe.job.attempt": job.attempts}
    told |= {f"avsafe.job.{key}": value for key, value in _of(job).items() if key != "attempt"}
    with (
        context.held(context.job_id, job.id),
        traces.span("job", told, kind="CONSUMER", parent=traces.within(job.id)) as span,
    ):
        _log.info("job claimed", extra=_of(job) | {"attempt": job.attempts})
        yield Attempt(job, span)


def _of(job: Job) -> dict[str, str]:
    """What may be said of a request: what kind of work by which generator."""
    return {"task": str(job.request.get("task")), "generator": str(job.request.get("generator"))}
