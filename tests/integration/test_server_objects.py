"""Files of jobs in a folder and in a bucket: the same service. Workers that are killed where it
hurts, and a store that fails in the middle."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import text

from avsafe import objects, testing
from avsafe.errors import ObjectsError
from avsafe.home import DATABASE_VARIABLE, Home
from avsafe.provenance import outbox
from avsafe.server import files, worker
from avsafe.server.app import create_app
from avsafe.server.scratch import scratch
from avsafe.server.settings import Settings
from avsafe.staging import open_stage
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace
from tests import s3_kit, server_kit

ASKED = {"task": "text-to-video", "generator": "world", "prompt": "a red ball", "seed": 1,
         "negative_prompt": "", "purpose": "general", "consent_ids": [], "parameters": {},
         "width": 256, "height": 256, "duration_s": 0.5, "inputs": []}  # fmt: skip
KINDS = ["folder", "s3"]


@pytest.fixture(scope="module")
def s3():
    with s3_kit.server() as made:
        yield made


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """Named in the environment, with a prefix for this test alone; patience is short."""
    if s3 is None:
        pytest.skip(s3_kit.LACKING)
    monkeypatch.setattr(objects, "RETRIES", 1)
    objects._bucket.cache_clear()
    for name, value in s3.environment(tmp_path.name).items():
        monkeypatch.setenv(name, value)
    yield s3
    s3.fault = None


class Place(server_kit.Place):
    """A service with one user, and workers on demand."""

    def __init__(self, root):
        super().__init__(root)
        self.key = self.people.add("ada", "lab", "creator")
        self.user = self.people.identify(self.key).account.id
        self.headers = {"authorization": f"Bearer {self.key}"}

    def http(self):
        return TestClient(create_app(self.settings), headers=self.headers)

    def add(self, **values):
        return self.jobs.add(self.user, "lab", "videos", ASKED | values)[0].id

    def work(self, settings=None):
        worker.run(settings or self.settings, until_empty=True)

    def silence(self):
        """The leases of workers that are gone run out."""
        with self.database.writing() as connection:
            connection.execute(text("UPDATE jobs SET lease_until = '2020-01-01 00:00:00+00'"))

    def stored(self, job_id):
        listed = files.store_of(self.settings).list(f"jobs/{job_id}")
        return sorted(one.key.rpartition("/")[2] for one in listed)

    def released(self):
        """Ids of the releases in the ledger and in the registry, which have to agree."""
        with open_workspace(self.home) as workspace:
            assert workspace.ledger.verify().ok
            assert workspace.ledger.orphans() == []
            rows = {r.release_id for r in workspace.registry.list()}
            assert rows == {
                e.release_id for e in workspace.ledger.entries()
                if e.type == "outcome" and e.body["status"] == "released"
            }  # fmt: skip
            return rows


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("bucket")
    made = Place(tmp_path / "home")
    yield made
    made.database.close()


# ---------------------------------------------------------------- the way of a job


def test_from_the_request_to_the_deletion(place, tmp_path):
    """A picture is animated: input, release, ranges, still, deletion."""
    http, picture = place.http(), tmp_path / "in.png"
    frame = next(iter(testing.textured_clip(0.1, 512, 384, Fraction(10)).frames))
    Image.fromarray(frame).save(picture)
    asked = http.post(
        "/v1/videos",
        data={"prompt": "slow zoom in", "seconds": "0.5", "size": "256x192"},
        files={"input_reference": ("ada lovelace.png", picture.read_bytes())},
    ).json()
    assert place.stored(asked["id"]) == ["in-input_reference"]  # no prompt, no name in a key
    place.work()
    job = place.jobs.get(asked["id"])
    assert (job.state, job.error) == ("released", None)
    assert place.stored(job.id) == [job.output]  # the picture that was given is gone
    assert not list((place.home.root / "work").glob("*"))

    path = f"/v1/videos/{job.id}/content"
    whole = http.get(path)
    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    assert whole.headers["content-disposition"] == f'attachment; filename="{job.id}.mp4"'
    got, size = tmp_path / "got.mp4", len(whole.content)
    got.write_bytes(whole.content)
    verdict = verify(got, Lookup(place.home), detectors=["none"])
    assert {e.source: e.status for e in verdict.evidence}["credential"] == "present"
    with open_workspace(place.home) as workspace:
        record = workspace.registry.get(job.release_id)
    assert record.sha256 == hashlib.sha256(whole.content).hexdigest()

    for header, start, end in (("0-99", 0, 100), ("100-", 100, size), ("-50", size - 50, size),
                               (f"7-{size * 9}", 7, size)):  # fmt: skip
        part = http.get(path, headers={"range": f"bytes={header}"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.content == whole.content[start:end]
    beyond = http.get(path, headers={"range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for header in ("bytes=9-3", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "bytes=" + "9" * 400):
        assert http.get(path, headers={"range": header}).content == whole.content
    of_another = {"range": "bytes=0-9", "if-range": '"another"'}
    assert http.get(path, headers=of_another).status_code == 200
    same = {"range": "bytes=0-9", "if-range": whole.headers["etag"]}
    assert http.get(path, headers=same).status_code == 206

    still = http.get(path + "?variant=thumbnail")
    assert Image.open(io.BytesIO(still.content)).size == (256, 192)
    assert http.delete(f"/v1/videos/{job.id}").status_code == 200
    assert place.stored(job.id) == []
    assert http.get(path).status_code == 404


def test_what_is_refused_leaves_nothing(place, tmp_path):
    """Inputs of a request that does not become a job, and of one that is cancelled."""
    http, picture = place.http(), tmp_path / "in.png"
    Image.new("RGB", (64, 64)).save(picture)
    given = {"files": {"input_reference": ("x.png", picture.read_bytes())}}
    headers = {"idempotency-key": "one"}
    asked = http.post("/v1/videos", data={"prompt": "zoom"}, headers=headers, **given).json()
    other = http.post("/v1/videos", data={"prompt": "other"}, headers=headers, **given)
    assert other.status_code == 409
    same = http.post("/v1/videos", data={"prompt": "zoom"}, headers=headers, **given)
    assert same.json()["id"] == asked["id"]
    assert [one.key for one in files.store_of(place.settings).list("jobs")] == [
        f"jobs/{asked['id']}/in-input_reference"
    ]
    assert http.post(f"/v1/videos/{asked['id']}/cancel").status_code == 200
    assert place.stored(asked["id"]) == []


def test_the_sweep_takes_orphans_by_age_and_inputs_of_what_ended(place, tmp_path):
    store, file = files.store_of(place.settings), tmp_path / "x"
    file.write_bytes(b"x")
    ended, waiting, orphan = place.add(), place.add(), "video_" + "0" * 32
    place.jobs.end(place.jobs.claim("w"), "released", output="out-1.mp4", release_id="r")
    for job_id in (ended, waiting, orphan):
        for name in ("in-portrait", "out-1.mp4", "still.webp"):
            store.put(file, files.key_of(job_id, name))
    now = datetime.now(UTC)
    assert files.sweep(place.settings, place.jobs, now) == 1
    assert place.stored(ended) == ["out-1.mp4", "still.webp"]
    assert len(place.stored(orphan)) == 3  # its job may be about to be queued
    assert files.sweep(place.settings, place.jobs, now + timedelta(hours=2)) == 1
    assert place.stored(orphan) == []
    assert len(place.stored(waiting)) == 3
    worker.sweep(place.settings, place.jobs, now + timedelta(days=31))
    assert place.jobs.get(ended) is None
    worker.sweep(place.settings, place.jobs, now + timedelta(days=31))
    assert place.stored(ended) == []


def test_an_input_that_is_gone_has_a_code_of_its_own(bucket, tmp_path):
    place = Place(tmp_path / "home")
    job_id = place.add(inputs=[{"field": "image", "role": "image", "file": "in-image"}])
    place.work()
    job = place.jobs.get(job_id)
    assert (job.state, job.error["code"]) == ("failed", "input_lost")
    place.database.close()


# ---------------------------------------------------------------- a store that fails


def test_a_job_waits_for_a_store_that_does_not_answer(bucket, tmp_path, monkeypatch):
    place = Place(tmp_path / "home")
    job_id = place.add()
    bucket.failing("PUT")
    place.work()
    job = place.jobs.get(job_id)
    assert (job.state, job.stage, job.attempts) == ("running", "waiting for storage", 1)
    assert job.lease_until < datetime.now(UTC) + timedelta(seconds=worker.LATER_S)
    assert place.released() == set()
    bucket.fault = None
    place.silence()
    place.work()
    job = place.jobs.get(job_id)
    assert (job.state, job.attempts) == ("released", 2)
    assert place.stored(job_id) == [job.output]
    assert place.released() == {job.release_id}
    assert not [p for p in place.home.staging.iterdir() if p.is_dir()]
    place.database.close()


def test_a_store_that_never_answers_ends_a_job_with_a_code(bucket, tmp_path):
    place = Place(tmp_path / "home")
    job_id = place.add(inputs=[{"field": "image", "role": "image", "file": "in-image"}])
    with open_workspace(place.home) as workspace:
        one = worker.Worker("w", place.settings, place.database, workspace, threading.Event())
        bucket.failing("HEAD")
        for _ in range(3):
            assert one.once()
            place.silence()
    job = place.jobs.get(job_id)
    assert (job.state, job.error["code"]) == ("failed", "storage_failed")
    assert "box" not in job.error["message"]
    place.database.close()


def test_a_gateway_whose_store_does_not_answer(bucket, tmp_path):
    place = Place(tmp_path / "home")
    job_id = place.add()
    place.jobs.end(place.jobs.claim("w"), "released", output="out-1.mp4", release_id="r")
    picture = tmp_path / "in.png"
    Image.new("RGB", (64, 64)).save(picture)
    http = place.http()
    bucket.failing("PUT", "HEAD", "GET", status=500)
    for answer in (
        http.get(f"/v1/videos/{job_id}/content"),
        http.post("/v1/videos", data={"prompt": "zoom"},
                  files={"input_reference": ("x.png", picture.read_bytes())}),
    ):  # fmt: skip
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "storage_unavailable"
        assert "retry-after" in answer.headers
        assert s3_kit.SECRET not in answer.text
        assert "box" not in answer.text
    page = http.post("/it/team/login", files={"key": (None, place.key)}, follow_redirects=False)
    assert page.status_code == 303
    page = http.get(f"/it/team/jobs/{job_id}/file")
    assert (page.status_code, "non sono raggiungibili" in page.text) == (503, True)
    assert "box" not in page.text
    assert len(place.jobs.list("lab")) == 1
    assert http.delete(f"/v1/videos/{job_id}").status_code == 200  # its files go with the sweep
    with pytest.raises(ObjectsError, match="refuses"):
        place.work()  # no worker begins that could not end
    place.database.close()


# ---------------------------------------------------------------- kill -9

# One process that forks a worker for each point, which dies there; the job's lease runs out.
KILLS = """
import os, signal, sys
from sqlalchemy import text
from avsafe.registry.database import Database
from avsafe.server import files, jobs, worker
from avsafe.server.settings import Settings
from avsafe.staging import Stage

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(real):
    def both(*given, **named):
        real(*given, **named)
        die()
    return both

POINTS = {
    "kept": (files.Workplace, "keep", after(files.Workplace.keep)),
    "noted": (jobs.Jobs, "keeping", after(jobs.Jobs.keeping)),
    "outcome": (Stage, "publish", die),
    "report": (worker.Worker, "_report", die),
}
settings = Settings.from_environment()
for point in sys.argv[1:]:
    child = os.fork()
    if not child:
        setattr(*POINTS[point])
        worker.run(settings, until_empty=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (point, status)
    with Database.open(settings.home.database) as database, database.writing() as connection:
        connection.execute(text("UPDATE jobs SET lease_until = '2020-01-01 00:00:00+00'"))
"""


def killed_at(place, *points):
    environment = os.environ | {"AVSAFE_HOME": str(place.home.root)}
    subprocess.run([sys.executable, "-c", KILLS, *points], env=environment, check=True, timeout=300)


@pytest.mark.parametrize(
    ("kind", "engine", "points"),
    [
        ("folder", "sqlite", ["report"]),
        ("s3", "sqlite", ["kept", "noted", "outcome"]),
        ("s3", "postgresql", ["outcome"]),
    ],
)
def test_workers_that_die_where_it_hurts(request, monkeypatch, tmp_path, kind, engine, points):
    """The last one dies after its release: it is found, and not made again, also after a third
    death, and where the machine of the dead is lost with all that lay on it."""
    if kind == "s3":
        request.getfixturevalue("bucket")
    if engine == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, request.getfixturevalue("postgresql_url"))
    place = Place(tmp_path / "home")
    job_id = place.add()
    killed_at(place, *points)
    job, output = place.jobs.get(job_id), f"out-{len(points)}.mp4"
    assert (job.state, job.attempts, job.output) == ("running", len(points), output)
    settings = place.settings
    if engine == "postgresql":  # another machine, which has the keys alone
        other = Home(tmp_path / "other").ensure()
        shutil.copytree(place.home.keys, other.keys, dirs_exist_ok=True)
        settings = Settings(home=other, generate=True)
    elif kind == "s3":  # the same one, after it lost its disk
        shutil.rmtree(place.home.staging)
        shutil.rmtree(place.home.root / "work")
        place.home.ensure()
    place.work(settings)
    job = place.jobs.get(job_id)
    assert (job.state, job.error, job.output) == ("released", None, output)
    assert place.released() == {job.release_id}
    assert place.stored(job_id) == [output]
    waiting = [one.path.name for one in outbox.waiting(settings.home.keys)]
    assert waiting == ([output] if kind == "folder" else [])
    got = tmp_path / "got.mp4"
    files.store_of(place.settings).fetch(files.key_of(job_id, output), got)
    assert verify(got, Lookup(place.home), detectors=["none"]).label == "synthetic-declared"
    place.database.close()


def test_a_job_whose_release_did_not_become_one_ends_after_three_deaths(tmp_path):
    place = Place(tmp_path / "home")
    job_id = place.add()
    for _ in range(3):
        place.jobs.keeping(place.jobs.claim("w", lease_s=-1), "0" * 32, "out-3.mp4")
    place.work()
    job = place.jobs.get(job_id)
    assert (job.state, job.error["code"]) == ("failed", "worker_died")
    assert (job.release_id, job.output) == (None, None)
    place.database.close()


def test_what_may_still_become_a_release_is_left_alone(place):
    """Its worker slept through its lease, and lives: a second one makes nothing beside it."""
    job_id = place.add()
    held = place.jobs.claim("sleeper", lease_s=-1)
    release_id = "1" * 32
    with open_workspace(place.home) as workspace:
        one = worker.Worker("w", place.settings, place.database, workspace, threading.Event())
        final = place.home.root / "out-1.mp4"
        with open_stage(place.home, workspace.ledger, release_id, final):
            workspace.ledger.intent(release_id, {"task": "text-to-video"})
            place.jobs.keeping(held, release_id, "out-1.mp4")
            assert one.once()
            job = place.jobs.get(job_id)
            assert (job.state, job.worker, job.release_id) == ("running", "w", release_id)
            workspace.ledger.outcome(release_id, "released", {})
        place.silence()
        assert one.once()
    job = place.jobs.get(job_id)
    assert (job.state, job.release_id, job.output) == ("released", release_id, "out-1.mp4")


def test_what_the_dead_left_on_this_machine_is_swept(bucket, tmp_path):
    place = Place(tmp_path / "home")
    root = place.home.root / "work"
    dead = root / "dead"
    dead.mkdir(parents=True)
    (dead / "in-portrait").write_bytes(b"x")
    with scratch(root) as alive:
        files.sweep(place.settings, place.jobs)
        assert [p.name for p in root.iterdir()] == [alive.name]
    assert list(root.iterdir()) == []
    place.database.close()
