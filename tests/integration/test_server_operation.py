"""The service as it is run: real processes that are killed and stopped; what it tells of itself."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from avsafe.home import Home
from avsafe.ledger import Ledger
from avsafe.registry.database import Database
from avsafe.server import worker
from avsafe.server.app import create_app
from avsafe.server.jobs import Jobs
from avsafe.server.observed import logs, metrics, traces
from avsafe.server.people import People
from avsafe.server.settings import Settings
from avsafe.workspace import open_workspace

PROMPT = "a red metal ball beside Ada Lovelace bouncing on grass"
NOT_SAID = ("lovelace", "metal ball", "ada-of-byron", "holiday-in-", "byron-lab", "203.0.113.9",
            "testclient", "secret-query", "avs_")  # fmt: skip


# ---------------------------------------------------------------- what it tells


class Heard(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.setFormatter(logs.Shaped("json"))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def heard():
    handler, root = Heard(), logging.getLogger()
    ours = logging.getLogger("avsafe")
    before = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    ours.setLevel(before)


@pytest.fixture
def spans():
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    traces.on(exporter=exporter)
    yield exporter
    traces.off()


def test_nothing_personal_is_told(tmp_path, heard, spans, monkeypatch):
    """A verification, a job that is released, one that is denied and one that breaks."""
    from prometheus_client import generate_latest

    numbers = metrics.on()
    settings = Settings(home=Home(tmp_path / "home"), generate=True, detectors="none")
    with Database.open(settings.home.ensure().database) as database:
        people = People(database)
        key = people.add("ada-of-byron", "byron-lab", "creator")
        app, jobs = create_app(settings), Jobs(database)
        sent = {
            "authorization": f"Bearer {key}", "x-forwarded-for": "203.0.113.9",
            "x-request-id": "ada-of-byron", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        }  # fmt: skip
        with TestClient(app, raise_server_exceptions=False) as http:
            file = {"file": ("holiday-in-rome.png", b"\x89PNG\r\n\x1a\n lovelace")}
            verified = http.post("/api/verify?detectors=none&q=secret-query", files=file)
            assert verified.json()["label"] == "unreadable"
            wanted = {"model": "world", "prompt": PROMPT, "size": "256x192", "seconds": "1"}
            asked = [http.post("/v1/videos", json=wanted | {"seed": n}, headers=sent).json()
                     for n in range(3)]  # fmt: skip
            _one(settings)
            people.suspend("ada-of-byron")
            _one(settings)
            people.suspend("ada-of-byron", False)
            monkeypatch.setattr(worker.gate, "generate", _breaks)
            _one(settings)
            monkeypatch.setattr(Jobs, "get", _breaks)
            broken = http.get(f"/v1/videos/{asked[0]['id']}", headers=sent)
            assert broken.status_code == 500
            monkeypatch.undo()
        states = [jobs.get(one["id"]).state for one in asked]
    assert states == ["released", "denied", "failed"]

    lines = [json.loads(line) for line in heard.lines if '"avsafe.' in line]
    told = {
        "spans": [span.to_json() for span in spans.get_finished_spans()],
        "metrics": generate_latest(numbers.registry).decode().splitlines(),
        "lines": heard.lines,
    }
    assert 'avsafe_verdicts_total{label="unreadable"}' in "\n".join(told["metrics"])
    assert not [line for line in heard.lines if "unreadable" in line]  # counted, not written down
    for what, texts in told.items():
        for text in texts:
            for secret in NOT_SAID:
                assert secret not in text.lower(), (what, text)

    names = {span.name for span in spans.get_finished_spans()}
    assert {"POST /api/verify", "verify", "POST /v1/videos", "GET /v1/videos/{video_id}", "job",
            "job queued", "job decide", "job generate", "job mark", "job sign",
            "job release"} <= names  # fmt: skip
    ended = {one["job_id"]: one for one in lines if one["event"] == "job ended"}
    assert [ended[one["id"]]["state"] for one in asked] == states
    assert ended[asked[1]["id"]]["rules"] == ["F20-account-suspended"]
    queued = next(one for one in lines if one["event"] == "job queued")
    of_request = next(one for one in lines if one.get("route") == "/v1/videos")
    assert queued["request_id"] == of_request["request_id"]
    assert queued["trace_id"] != "ab" * 16  # nobody writes into our traces
    assert ended[asked[0]["id"]]["trace_id"] == asked[0]["id"].removeprefix("video_")
    shown = "\n".join(told["metrics"])
    assert 'avsafe_decisions_total{effect="deny",rule="F20-account-suspended"}' in shown
    assert (
        'avsafe_http_requests_total{method="GET",route="/v1/videos/{video_id}",status="5xx"}'
        in shown
    )
    assert broken.headers["x-request-id"] != "ada-of-byron"


def _one(settings):
    stopping = threading.Event()
    with (
        Database.open(settings.home.database) as database,
        open_workspace(settings.home) as workspace,
    ):
        assert worker.Worker("w", settings, database, workspace, stopping).once()


def _breaks(*_args, **_kwargs):
    raise RuntimeError(f"cannot draw {PROMPT!r} for ada-of-byron")


# ---------------------------------------------------------------- real processes


class Service:
    """`avsafe serve` in processes of its own."""

    def __init__(self, root: Path, *options: str, **setting: str) -> None:
        self.home = Home(root / "home")
        self.port, self.metrics_port = _free_port(), _free_port()
        self.log = root / "log"
        command = [sys.executable, "-c", "from avsafe.cli import main; main()", "serve",
                   "--port", str(self.port), "--metrics-port", str(self.metrics_port),
                   *options]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stderr=log, cwd=root,
                env=os.environ | {"AVSAFE_HOME": str(self.home.root),
                                  "AVSAFE_SERVE_DETECTORS": "none",
                                  "AVSAFE_SERVE_LOG": "json"} | setting,
            )  # fmt: skip
        self.until(lambda: self.get("/readyz")[0] == 200)

    def get(self, path: str, port: int | None = None, **headers: str) -> tuple[int, str]:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}{path}", headers=headers
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics", self.metrics_port)[1],
                          re.MULTILINE)  # fmt: skip
        return float(found[1]) if found else 0.0

    def pids(self, what: str) -> set[int]:
        events = [json.loads(one) for one in self.log.read_text().splitlines() if one[:1] == "{"]
        started = {e["pid"] for e in events if e["event"] == f"{what} started"}
        return {pid for pid in started if _lives(pid)}

    def until(self, true, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def close(self) -> None:
        for pid in (self.process.pid, *self.pids("server"), *self.pids("worker")):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.fixture
def serve(tmp_path):
    made = []

    def start(*options, **setting):
        made.append(Service(tmp_path, *options, **setting))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_what_dies_comes_back_and_what_is_stopped_ends_well(serve):
    service = serve("--generate", "--workers", "2", "--makers", "1", AVSAFE_SERVE_DRAIN_S="2")
    with Database.open(service.home.database) as database:
        key = People(database).add("ada", "lab", "creator")
        sent = {"Authorization": f"Bearer {key}"}

        killed = min(service.pids("server"))
        os.kill(killed, signal.SIGKILL)
        service.until(lambda: len(service.pids("server")) == 2)
        assert service.get("/healthz")[0] == 200

        asked = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        wanted = {"model": "world", "prompt": PROMPT, "seconds": "10", "size": "640x480"}
        asked.request("POST", "/v1/videos", json.dumps(wanted), sent)
        job_id = json.loads(asked.getresponse().read())["id"]
        service.until(lambda: Jobs(database).get(job_id).state == "running")
        assert service.metric('avsafe_jobs{state="running"}') == 1
        assert service.metric('avsafe_job_attempts_total{again="no"}') == 1  # of another process

        upload = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        data = b"\x89PNG\r\n\x1a\n" + bytes(2000)
        upload.putrequest("POST", "/api/verify")
        upload.putheader("Content-Length", str(len(data)))
        upload.endheaders(data[:1000])
        service.until(lambda: service.metric("avsafe_uploads_inside") == 1)

        service.process.terminate()
        service.until(lambda: service.get("/readyz")[0] == 503)
        upload.send(data[1000:])
        answer = upload.getresponse()
        assert (answer.status, json.loads(answer.read())["label"]) == (200, "unreadable")
        assert service.process.wait(60) == 0
        job = Jobs(database).get(job_id)
    assert (job.state, job.attempts) == ("queued", 0)  # for the next worker
    assert service.get("/healthz")[0] == 0
    assert not service.pids("server") | service.pids("worker")
    with Ledger.open(service.home.log, service.home.keys) as ledger:
        assert [e.body["status"] for e in ledger.entries() if e.type == "outcome"] == ["cancelled"]
    assert not [p for p in (service.home.root / "uploads").iterdir() if p.is_dir()]
    assert not list(service.home.staging.iterdir())
    told = service.log.read_text()
    assert PROMPT not in told
    assert "Traceback" not in told


def test_children_end_with_their_parent_and_a_taken_port_is_told(serve):
    service = serve("--workers", "1")
    servers = service.pids("server")
    again = subprocess.run(
        [sys.executable, "-c", "from avsafe.cli import main; main()", "serve", "--port",
         str(service.port)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 2
    assert "another --port" in again.stderr
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    service.until(lambda: not any(map(_lives, servers)))
