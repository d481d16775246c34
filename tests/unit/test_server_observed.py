"""What the service tells of itself: ids, lines, numbers, spans; and what it never tells."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import update

from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.registry.schema import jobs as table
from avsafe.server.jobs import VIDEOS, Jobs
from avsafe.server.observed import context, events, logs, metrics, traces
from avsafe.server.observed.state import queue
from avsafe.server.people import People
from avsafe.server.settings import Settings

SECRET = "a portrait of Ada Lovelace"
JOB = "video_" + "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    traces.on(exporter=exporter)
    yield exporter
    traces.off()


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ada",
        "ada@example.org",
        "x" * 32,
        "a" * 65,
        "12345678-1234-1234\n{}",
        "-" * 32,
        "é" * 20,
    ],
)
def test_a_request_is_named_by_us_unless_the_name_is_well_formed(given):
    made = context.named(given)
    assert made != given
    assert context.named(made) == made


# ---------------------------------------------------------------- lines


def line(kind="json", name="avsafe.server", message="something", args=(), error=None, **extra):
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord(name, logging.ERROR, "x.py", 1, message, args, info)
    record.__dict__.update(extra)
    return logs.Shaped(kind).format(record)


def raised():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        return error


@pytest.mark.parametrize("kind", ["json", "text"])
@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio", "avsafe.server"])
def test_an_error_is_its_kind_and_place(kind, name):
    told = line(kind, name, "Exception in ASGI application\n", error=raised())
    assert SECRET not in told
    assert "ValueError at test_server_observed.py" in told
    assert "\n" not in told


def test_a_foreign_library_quotes_no_values():
    """asyncio puts the exception itself into the message of a task that nobody awaited."""
    told = line(name="asyncio", message="Task failed: %r", args=(raised(),), error=raised())
    assert SECRET not in told


def test_a_line_tells_what_is_listed_and_stays_one_line():
    told = json.loads(
        line(message="a\nb", route="/v1/videos/{video_id}", prompt=SECRET, path=SECRET)
    )
    assert told["event"] == "a"
    assert told["route"] == "/v1/videos/{video_id}"
    assert SECRET not in json.dumps(told)
    assert line("text", rules=("A1", "B2"), state="denied").endswith("state=denied rules=A1,B2")


@pytest.mark.parametrize("hostile", ["\r", "\x1b[2K", "\u2028", "\x85", "\x0b", "\t", "\x00"])
def test_what_a_file_says_moves_no_cursor_and_begins_no_line(hostile):
    told = line("text", message="not read: %s", args=(f"a{hostile}b",), code=f"a{hostile}b")
    assert told.isprintable()
    assert len(told.splitlines()) == 1
    assert "not read: a " in told


def test_a_line_knows_its_request_and_job():
    with context.held(context.request_id, "ab" * 16), context.held(context.job_id, JOB):
        told = json.loads(line())
    assert (told["request_id"], told["job_id"]) == ("ab" * 16, JOB)
    assert "request_id" not in json.loads(line())


# ---------------------------------------------------------------- spans


def test_the_trace_of_a_job_is_its_name(spans):
    with traces.span("POST") as asked:
        traces.queued(JOB)
    for attempt in (1, 2):  # another process, that knows the job's name alone
        with traces.span("job", {"attempt": attempt}, kind="CONSUMER", parent=traces.within(JOB)):
            pass
    first, request, one, two = spans.get_finished_spans()
    assert f"{first.context.trace_id:032x}" == JOB.removeprefix("video_")
    assert first.parent is None
    assert one.parent.span_id == two.parent.span_id == first.context.span_id
    assert one.context.trace_id == two.context.trace_id == first.context.trace_id
    assert one.context.span_id != two.context.span_id
    assert first.links[0].context.span_id == asked.get_span_context().span_id
    assert request.links[0].context.trace_id == first.context.trace_id
    assert request.context.trace_id != first.context.trace_id


def test_a_collector_is_sent_what_happened():
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            got.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with traces.sending(f"http://127.0.0.1:{server.server_port}/", "worker"):
            with traces.span("job"):
                pass
            assert traces.now() is not None
        server.shutdown()
    assert traces.now() is None
    ((path, told),) = got
    (group,) = told.resource_spans
    about = {one.key: one.value.string_value for one in group.resource.attributes}
    assert path == "/v1/traces"
    assert about["service.name"] == "avsafe-worker"
    assert socket.gethostname() not in about.values()
    assert [span.name for span in group.scope_spans[0].spans] == ["job"]


def test_a_job_is_sampled_by_its_name_in_every_process_alike(monkeypatch, request):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    exporter = request.getfixturevalue("spans")
    jobs = ["video_" + "0" * 16 + half + "0" * 15 for half in ("1", "f")]
    for job in jobs:
        traces.queued(job)
        with traces.span("job", parent=traces.within(job)):
            pass
    made = [(one.name, f"{one.context.trace_id:032x}") for one in exporter.get_finished_spans()]
    kept = jobs[0].removeprefix("video_")
    assert made == [("job queued", kept), ("job", kept)]


def test_a_span_of_an_error_has_its_kind(spans):
    with pytest.raises(ValueError, match="Ada"), traces.span("job"):
        raise raised()
    (made,) = spans.get_finished_spans()
    assert made.status.description == "ValueError"
    assert SECRET not in made.to_json()


def test_stages_are_of_a_fixed_set(spans):
    with events.Stages("job") as stages:
        for stage in ("starting", "decide", SECRET, "generate", "generate", "encode_and_mark"):
            stages(0.5, stage)
    assert [s.name for s in spans.get_finished_spans()] == [
        "job decide",
        "job generate",
        "job mark",
    ]


def test_where_nobody_asked_nothing_is_loaded():
    code = (
        "import sys, avsafe.server.app, avsafe.server.worker, avsafe.server.observed.events;"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "avsafe.server.observed.traces" in loaded
    assert not loaded & {"opentelemetry.sdk", "prometheus_client"}


_OTHERS = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
provider, spans = TracerProvider(), InMemorySpanExporter()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
from fastapi.testclient import TestClient
from avsafe.server.app import create_app
from avsafe.server.settings import Settings
with TestClient(create_app(Settings())) as client:
    assert client.get("/manifests/lovelace").status_code == 404
trace.get_tracer("x").start_span("the only one").end()
print([span.name for span in spans.get_finished_spans()])
"""


def test_the_framework_writes_nothing_into_traces_of_others():
    done = subprocess.run([sys.executable, "-c", _OTHERS], capture_output=True, text=True)
    assert done.stdout == "['the only one']\n", done.stderr


# ---------------------------------------------------------------- numbers


def test_what_a_client_invents_is_no_label():
    assert metrics.method("GET") == "GET"
    assert metrics.method("GET " + SECRET) == "other"


def test_an_address_that_is_taken_is_told():
    with (
        metrics.shown("127.0.0.1", 0) as port,
        pytest.raises(UsageError, match="--metrics-port"),
        metrics.shown("127.0.0.1", port),
    ):
        pass


def test_the_queue_as_the_database_knows_it(database_at):
    with Database.open(database_at) as database:
        People(database).add("ada", "lab", "creator")
        user = People(database).list()[0].id
        jobs = Jobs(database)
        made = [jobs.add(user, "lab", VIDEOS, {"generator": "world"})[0] for _ in range(3)]
        jobs.claim("one")
        held = jobs.claim("two")
        jobs.end(held, "released")
        now = made[-1].updated_at
        found = queue(database, now + timedelta(seconds=30))
        assert found.states["queued"] == found.states["running"] == found.states["released"] == 1
        assert found.states["failed"] == 0
        assert found.oldest_queued_s == 30
        assert (found.silent, found.workers) == (0, 2)
        with database.writing() as connection:
            connection.execute(update(table).values(lease_until=now - timedelta(seconds=1)))
        later = queue(database, now + timedelta(hours=1))
        assert (later.silent, later.workers) == (1, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LOG", "xml"), ("TRACES", "localhost:4318"), ("DRAIN_S", "-1"), ("SHUTDOWN_S", "0"),
     ("SHUTDOWN_S", "nan")],
)  # fmt: skip
def test_a_setting_that_is_none_is_told(name, value):
    with pytest.raises(UsageError, match=name):
        Settings.from_environment({f"AVSAFE_SERVE_{name}": value})
