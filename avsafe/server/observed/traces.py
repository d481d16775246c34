"""Spans of requests and jobs, for OpenTelemetry; nothing where nobody asked for them.

A job has a trace of its own, whose id is in the job's name, so that every process that works at it
finds the trace without being told: the request that queued it makes the first span, each attempt
of a worker is a child of that. The request's own trace is linked to it. A ``traceparent`` that a
client sends is not believed: it would let anybody write into our traces.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from avsafe import __version__
from avsafe.errors import MissingExtra

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext

VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
Value = str | int | float | bool
_provider: TracerProvider | None = None
_next_ids: ContextVar[tuple[int, int] | None] = ContextVar("avsafe_next_ids", default=None)


def wanted(setting: str) -> bool:
    """Whether traces were asked for, by our setting or by OpenTelemetry's own variable."""
    return bool(setting or os.environ.get(VARIABLE))


def on(setting: str = "", role: str = "server", exporter: SpanExporter | None = None) -> None:
    """Send spans to the collector at ``setting`` (http:// or https://), or where the variables of
    OpenTelemetry say. ``exporter`` takes them instead, one by one.

    Raises MissingExtra.
    """
    global _provider
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    except ImportError:
        raise MissingExtra(
            "Traces need opentelemetry-sdk, not installed here: pip install 'avsafe[telemetry]'."
        ) from None

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            given = _next_ids.get()
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = _next_ids.get()
            return given[1] if given else super().generate_span_id()

    off()
    name = os.environ.get("OTEL_SERVICE_NAME") or f"avsafe-{role}"
    about = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=about, id_generator=Ids(), shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        provider.add_span_processor(BatchSpanProcessor(_collector(setting)))
    _provider = provider


def off() -> None:
    """Send what is left, and no more."""
    global _provider
    if _provider is not None:
        ended, _provider = _provider, None
        ended.shutdown()


@contextmanager
def sending(setting: str, role: str) -> Iterator[None]:
    """Traces in this block, where they were asked for and nobody began them."""
    ours = wanted(setting) and _provider is None
    if ours:
        on(setting, role)
    try:
        yield
    finally:
        if ours:
            off()


def now() -> TracerProvider | None:
    """Who takes the spans, when anybody does."""
    return _provider


def _collector(setting: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise MissingExtra(
            "Traces need opentelemetry-exporter-otlp-proto-http, not installed here: "
            "pip install 'avsafe[telemetry]'."
        ) from None
    if not setting:
        return OTLPSpanExporter()  # reads OpenTelemetry's variables
    return OTLPSpanExporter(endpoint=setting.rstrip("/") + "/v1/traces")


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value] | None = None,
    *,
    kind: Literal["SERVER", "INTERNAL", "PRODUCER", "CONSUMER"] = "INTERNAL",
    parent: Any = None,
) -> Iterator[Span | None]:
    """A span around a block; None when there are no traces. An error leaves its kind, never its
    sentence."""
    if _provider is None:
        yield None
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    tracer = _provider.get_tracer("avsafe", __version__)
    with tracer.start_as_current_span(
        name, parent, SpanKind[kind], attributes,
        record_exception=False, set_status_on_exception=False,
    ) as made:  # fmt: skip
        try:
            yield made
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def begin(name: str) -> Any:
    """A span that ``end()`` ends, for what is no block; None when there are no traces."""
    return None if _provider is None else _provider.get_tracer("avsafe").start_span(name)


def current_id() -> str:
    """The trace id at hand, as it is searched for; "" when there is none."""
    if _provider is None:
        return ""
    from opentelemetry import trace

    here = trace.get_current_span().get_span_context()
    return f"{here.trace_id:032x}" if here.is_valid else ""


def queued(job_id: str) -> None:
    """The first span of a job's trace, and a link to it from the request that queued it."""
    if _provider is None:
        return
    from opentelemetry import trace
    from opentelemetry.context import Context

    of_job, here = _of_job(job_id), trace.get_current_span()
    links = [trace.Link(here.get_span_context())] if here.get_span_context().is_valid else []
    token = _next_ids.set((of_job.trace_id, of_job.span_id))
    try:
        _provider.get_tracer("avsafe").start_span(
            "job queued", Context(), trace.SpanKind.PRODUCER, {"avsafe.job.id": job_id}, links
        ).end()
    finally:
        _next_ids.reset(token)
    here.add_link(of_job)
    here.set_attribute("avsafe.job.id", job_id)


def within(job_id: str) -> Any:
    """Where spans of a job belong: give it as ``parent``."""
    if _provider is None:
        return None
    from opentelemetry import trace

    return trace.set_span_in_context(trace.NonRecordingSpan(_of_job(job_id)))


def _of_job(job_id: str) -> SpanContext:
    """The first span of a job's trace, from its name: random digits, which are the trace's id."""
    from opentelemetry import trace

    trace_id = int(job_id[-32:], 16) or 1
    span_id = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") or 1
    flags = trace.TraceFlags.DEFAULT
    if _provider is not None:
        from opentelemetry.sdk.trace.sampling import Decision

        decided = _provider.sampler.should_sample(None, trace_id, "job queued").decision
        if decided is Decision.RECORD_AND_SAMPLE:
            flags = trace.TraceFlags.SAMPLED
    return trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
