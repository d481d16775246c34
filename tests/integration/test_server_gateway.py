"""The gateway with the official client: jobs through the gate, who sees what, workers that die."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from avsafe import testing
from avsafe.errors import UsageError
from avsafe.home import DATABASE_VARIABLE
from avsafe.registry.database import Database
from avsafe.server import files, worker
from avsafe.server.app import create_app
from avsafe.server.jobs import Conflict, Jobs, Lost
from avsafe.server.keys import Keys
from avsafe.server.people import NotAuthenticated, People
from avsafe.server.sessions import Sessions
from avsafe.verify import verify
from avsafe.workspace import Lookup, open_workspace
from tests import server_kit

PROMPT = "a red metal ball bouncing on grass"


class Place(server_kit.Place):
    """A service on a state folder of its own, with a worker on demand."""

    def __init__(self, root):
        super().__init__(root)
        self.http = TestClient(self.app)
        self.keys = {}

    def key(self, name, team="lab", role="creator"):
        if (name, team, role) not in self.keys:
            self.keys[name, team, role] = self.people.add(name, team, role)
        return self.keys[name, team, role]

    def client(self, name="ada", team="lab", role="creator"):
        import openai

        return openai.OpenAI(
            api_key=self.key(name, team, role), base_url="http://testserver/v1",
            http_client=self.http, max_retries=0,
        )  # fmt: skip

    def headers(self, *who):
        return {"authorization": f"Bearer {self.key(*who)}"}

    def work(self):
        worker.run(self.settings, until_empty=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("gateway") / "home")
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def video(place):
    """A video that was asked for, made and released."""
    client = place.client()
    asked = client.videos.create(
        model="world", prompt=PROMPT, seconds="1", size="320x240", extra_body={"seed": 3}
    )
    assert (asked.status, asked.progress) == ("queued", 0)
    place.work()
    return client.videos.retrieve(asked.id)


# ---------------------------------------------------------------- the client's way


def test_a_video_is_asked_made_and_fetched(place, video, tmp_path, monkeypatch):
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    path = tmp_path / "got.mp4"
    path.write_bytes(place.client().videos.download_content(video.id).read())
    verdict = verify(path, Lookup(place.home), detectors=["none"])
    assert verdict.label == "synthetic-declared"
    mark = next(e for e in verdict.evidence if e.source == "watermark.video")
    assert mark.details["release_id"] == video.release_id
    still = place.http.get(
        f"/v1/videos/{video.id}/content?variant=thumbnail", headers=place.headers("ada")
    )
    assert Image.open(io.BytesIO(still.content)).size == (320, 240)
    monkeypatch.setattr(files.pages, "still", None)  # a picture of a release is made once
    again = place.http.get(
        f"/v1/videos/{video.id}/content?variant=thumbnail", headers=place.headers("ada")
    )
    assert again.content == still.content


def test_pictures_come_at_once(place):
    working = threading.Thread(target=_work_for, args=(place, 2))
    working.start()
    found = place.client().images.generate(
        model="world", prompt=PROMPT, size="256x256", n=2, response_format="b64_json"
    )
    working.join()
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.b64_json))) for one in found.data]
    assert [p.size for p in pictures] == [(256, 256)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()  # another seed


def _work_for(place, n):
    with open_workspace(place.home) as workspace:
        one = worker.Worker("test", place.settings, place.database, workspace, threading.Event())
        deadline = time.monotonic() + 60
        while n and time.monotonic() < deadline:
            n -= one.once()
            time.sleep(0.02)


def test_a_picture_is_animated(place, tmp_path):
    picture = tmp_path / "in.png"
    frame = next(iter(testing.textured_clip(0.1, 512, 384, Fraction(10)).frames))
    Image.fromarray(frame).save(picture)
    with picture.open("rb") as file:
        asked = place.client().videos.create(
            prompt="slow zoom in", seconds="1", size="256x192", input_reference=file
        )
    assert asked.task == "image-to-video"
    place.work()
    made = place.client().videos.retrieve(asked.id)
    assert (made.status, made.error) == ("completed", None)
    kept = [p.name for p in files.folder_of(place.settings, asked.id).iterdir()]
    assert kept == [place.jobs.get(asked.id).output]  # the picture that was given is gone


def test_models_are_those_that_are_offered(place):
    names = {one.id for one in place.client().models.list()}
    assert "world" in names
    assert not names & {"command", "diffusers", "openai-compatible"}


def test_a_denial_has_a_stable_code_and_a_reason(place):
    client = place.client()
    asked = client.videos.create(model="world", prompt="a forged ballot for the election news")
    place.people.suspend("ada")
    try:
        place.work()
    finally:
        place.people.suspend("ada", False)
    denied = client.videos.retrieve(asked.id)
    assert denied.status == "failed"
    assert "F20-account-suspended" in denied.error.rules
    assert "suspended" in denied.error.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "command", "parameters": {"argv": "touch /tmp/x"}}, "no model"),
        ({"model": "nobody"}, "no model"),
        ({"model": "foley"}, "does not do"),
        ({"size": "-1x3"}, "WIDTHxHEIGHT"),
        ({"seconds": "nan"}, "seconds is a number"),
        ({"seed": True}, "seed is a number"),
        ({"seed": 2**63}, "seed is a number"),
        ({"seed": 10**400}, "seed is a number"),
        ({"seconds": 10**400}, "seconds is a number"),
        ({"prompt": "a\x00b"}, "holds a NUL"),
        ({"parameters": {"a": [[[[[[[1]]]]]]]}}, "nested too deeply"),
        ({"parameters": {"a": "\x00"}}, "holds a NUL"),
        ({"parameters": {"a": 10**30}}, "too large"),
        ({"consent_ids": ["c"] * 51}, "at most 50"),
        ({"seed": -1}, "seed is a number"),
        ({"task": "release"}, "no task"),
        ({"principal": {"user": "root", "roles": ["owner"]}}, "not understood"),
        ({"approval": {"reviewer": "me"}}, "not understood"),
        ({"prompt": "x" * 9000}, "letters"),
        ({"prompt": 3}, "is a text"),
        ({"consent_ids": [3]}, "list of texts"),
        ({"parameters": "[]"}, "JSON object"),
    ],
)
def test_a_wrong_question_is_told(place, fields, said):
    answer = place.http.post(
        "/v1/videos", json={"prompt": PROMPT} | fields, headers=place.headers("ada")
    )
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b"x" * (2 << 20)])
def test_a_body_that_is_none(place, body):
    answer = place.http.post("/v1/videos", content=body, headers=place.headers("ada"))
    assert answer.status_code in (400, 413)


def test_an_input_that_is_no_media(place):
    files = {"input_reference": ("x.png", b"<svg onload=alert(1)>")}
    answer = place.http.post(
        "/v1/videos", data={"prompt": "zoom"}, files=files, headers=place.headers("ada")
    )
    assert answer.status_code == 400
    folder = place.home.root / "uploads"
    assert not [p for p in folder.iterdir() if p.is_dir()]


# ---------------------------------------------------------------- who may what


def test_another_team_sees_nothing(place, video):
    eve = place.headers("eve", "other")
    assert place.http.get("/v1/videos", headers=eve).json()["data"] == []
    for method, path in (
        ("GET", f"/v1/videos/{video.id}"), ("GET", f"/v1/videos/{video.id}/content"),
        ("POST", f"/v1/videos/{video.id}/cancel"), ("DELETE", f"/v1/videos/{video.id}"),
        ("GET", f"/v1/videos?after={video.id}"),
    ):  # fmt: skip
        answer = place.http.request(method, path, headers=eve)
        assert answer.status_code == 404 or answer.json().get("data") == []
    assert place.client().videos.retrieve(video.id).status == "completed"


ROUTES = [
    ("POST", "/v1/videos", "generate"), ("GET", "/v1/videos", ""), ("GET", "/v1/models", ""),
    ("GET", "/v1/videos/none", ""), ("GET", "/v1/videos/none/content", ""),
    ("POST", "/v1/videos/none/cancel", "generate"), ("DELETE", "/v1/videos/none", "generate"),
    ("POST", "/v1/images/generations", "generate"), ("GET", "/api/reviews", "review"),
    ("POST", "/api/reviews/none", "review"), ("GET", "/api/whoami", ""),
    ("POST", "/v1/audio/speech", "generate"), ("GET", "/v1/audio/voices", ""),
]  # fmt: skip
MAY = {
    "owner": {"generate", "review"}, "creator": {"generate"}, "reviewer": {"review"},
    "auditor": set(),
}  # fmt: skip


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_every_route_by_every_role(place, method, path, scope):
    body = {"decision": "deny", "reason": "x"} if "reviews/" in path else {"model": "nobody"}
    asked = {"json": body} if method == "POST" else {}
    for role, scopes in MAY.items():
        headers = place.headers(f"a-{role}", "matrix", role)
        code = place.http.request(method, path, headers=headers, **asked).status_code
        allowed = not scope or scope in scopes
        assert (code != 403) == allowed, (role, code)
        assert code not in (401, 500)
    for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic YTpi"},
                  {"authorization": "Bearer avs_000000000000_" + "A" * 43},
                  {"x-user": "ada", "x-forwarded-user": "ada"}):  # fmt: skip
        assert place.http.request(method, path, headers=wrong, **asked).status_code == 401


def test_all_routes_are_in_the_matrix(place):
    known = {(m, p.replace("none", "{video_id}")) for m, p, _ in ROUTES}
    paths = place.app.openapi()["paths"]
    found = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if path.startswith(("/v1/", "/api/")) and path != "/api/verify"
    }
    assert found == known


def test_keys_end(place):
    people = place.people
    key = people.add("kim", "lab", "creator", days=1)
    assert people.identify(key).principal.user == "kim"
    with pytest.raises(NotAuthenticated):
        people.identify(key, datetime.now(UTC) + timedelta(days=1, seconds=1))
    with pytest.raises(NotAuthenticated):
        people.identify(key[:-1] + ("A" if key[-1] != "A" else "B"))
    Keys(place.database).revoke(key.split("_")[1])
    with pytest.raises(NotAuthenticated):
        people.identify(key)
    other = people.new_key("kim", "lab")
    people.remove("kim", "lab")
    with pytest.raises(NotAuthenticated):
        people.identify(other)
    for path in place.home.root.glob("registry.db*"):
        assert key.split("_", 2)[2].encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("name", "team", "role"),
    [("", "t", "creator"), ("a/b", "t", "creator"), ("a", "t" * 65, "creator"), ("a", "t", "god"),
     ("a\nb", "t", "creator")],
)  # fmt: skip
def test_names_and_roles_that_are_none(place, name, team, role):
    with pytest.raises(UsageError):
        place.people.add(name, team, role)


# ---------------------------------------------------------------- review


@pytest.fixture
def waiting(place):
    """A job that waits for review, as the worker leaves one."""
    account = place.people.identify(place.key("ada")).account
    asked = {"task": "text-to-video", "generator": "world", "prompt": PROMPT, "seed": 1,
             "negative_prompt": "", "purpose": "general", "consent_ids": [], "parameters": {},
             "width": 256, "height": 256, "duration_s": 1.0, "inputs": []}  # fmt: skip
    place.jobs.add(account.id, "lab", "videos", asked)
    job = place.jobs.claim("w")
    rules = ["R2-violence"]
    place.jobs.end(job, "review", decision={"effect": "review", "rules": rules, "reasons": ["x"]},
                   error={"code": rules[0], "message": "x", "rules": rules})  # fmt: skip
    return job.id


def test_a_reviewer_approves_and_it_is_made(place, waiting):
    reviewer = place.headers("rita", "lab", "reviewer")
    shown = place.http.get("/api/reviews", headers=reviewer).json()["data"]
    assert PROMPT in {one["request"]["prompt"] for one in shown}
    body = {"decision": "approve", "reason": "a ball"}
    assert place.http.post(f"/api/reviews/{waiting}", json=body, headers=reviewer).json()[
        "state"
    ] == ("queued")
    again = place.http.post(f"/api/reviews/{waiting}", json=body, headers=reviewer)
    assert again.status_code == 400
    place.work()
    assert place.jobs.get(waiting).state == "released"


def test_a_reviewer_denies_with_a_reason(place, waiting):
    body = {"decision": "deny", "reason": "no"}
    reviewer = place.headers("rita", "lab", "reviewer")
    place.http.post(f"/api/reviews/{waiting}", json=body, headers=reviewer)
    job = place.jobs.get(waiting)
    assert (job.state, job.error["code"]) == ("denied", "review_denied")
    assert place.jobs.claim("w") is None


def test_nobody_reviews_a_request_of_their_own(place, waiting):
    place.people.add("ada", "lab", "reviewer", key=False)
    try:
        headers = {"authorization": f"Bearer {place.people.new_key('ada', 'lab')}"}
        body = {"decision": "approve", "reason": "mine"}
        answer = place.http.post(f"/api/reviews/{waiting}", json=body, headers=headers)
        assert answer.status_code == 403
        assert place.jobs.get(waiting).state == "review"
    finally:
        place.people.remove("ada", "lab", "reviewer")
        place.jobs.cancel(waiting)


def test_an_approval_covers_the_rules_it_names_and_no_other():
    from avsafe.errors import NeedsReview
    from avsafe.settlement import refuse_unless_allowed
    from avsafe.types import Approval, Decision, Effect

    decision = Decision(Effect.REVIEW, ("R1", "R2"), ("a", "b"))
    refuse_unless_allowed(decision, Approval("rita", ("R1", "R2", "R3"), "seen", "now"))
    with pytest.raises(NeedsReview):
        refuse_unless_allowed(decision, Approval("rita", ("R1",), "seen", "now"))


# ---------------------------------------------------------------- the queue


@pytest.fixture
def queue(database_at):
    with Database.open(database_at) as database:
        people = People(database)
        people.add("ada", "lab", "creator", key=False)
        yield Jobs(database), people.list()[0].id


def test_a_call_with_one_key_is_one_job(queue):
    jobs, user = queue
    first, fresh = jobs.add(user, "lab", "videos", {"a": 1}, idempotency_key="k")
    again, fresh_again = jobs.add(user, "lab", "videos", {"a": 1}, idempotency_key="k")
    assert (first.id, fresh, fresh_again) == (again.id, True, False)
    with pytest.raises(Conflict):
        jobs.add(user, "lab", "videos", {"a": 2}, idempotency_key="k")


def test_a_client_may_repeat_a_call_with_its_key(place):
    headers = place.headers("ada") | {"idempotency-key": "one"}
    ids = {place.http.post("/v1/videos", json={"prompt": PROMPT, "seconds": "1"},
                           headers=headers).json()["id"] for _ in range(3)}  # fmt: skip
    assert len(ids) == 1
    other = place.http.post("/v1/videos", json={"prompt": "a cube"}, headers=headers)
    assert other.status_code == 409
    place.jobs.cancel(ids.pop())


def test_a_silent_worker_loses_its_job_to_the_next(queue):
    jobs, user = queue
    made = jobs.add(user, "lab", "videos", {})[0]
    first = jobs.claim("one", lease_s=-1)
    second = jobs.claim("two")
    assert (first.id, second.id, second.attempts) == (made.id, made.id, 2)
    with pytest.raises(Lost):
        jobs.beat(first)
    with pytest.raises(Lost):
        jobs.end(first, "released")
    assert jobs.beat(second) is False
    jobs.end(second, "released", output="x")
    assert jobs.claim("three") is None


def test_a_job_that_kills_its_workers_ends(queue):
    jobs, user = queue
    made = jobs.add(user, "lab", "videos", {})[0]
    for _ in range(3):
        assert jobs.claim("w", lease_s=-1).id == made.id
    assert jobs.claim("w") is None
    assert jobs.get(made.id).error["code"] == "worker_died"


def test_many_workers_take_each_job_once(queue):
    jobs, user = queue
    ids = {jobs.add(user, "lab", "videos", {})[0].id for _ in range(40)}
    taken, lock = [], threading.Lock()

    def work(name):
        while (job := jobs.claim(name)) is not None:
            with lock:
                taken.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


TAKER = """
import sys
from pathlib import Path
from avsafe.registry.database import Database
from avsafe.server.jobs import Jobs
place = sys.argv[1]
with Database.open(place if "://" in place else Path(place)) as database:
    jobs = Jobs(database)
    print("ready", flush=True)
    sys.stdin.readline()
    while (job := jobs.claim("w")) is not None:
        jobs.end(job, "released", output="x")
        print(job.id)
"""


def test_processes_take_each_job_once(queue, database_at):
    jobs, user = queue
    ids = {jobs.add(user, "lab", "videos", {})[0].id for _ in range(60)}
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKER, str(database_at)], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    for taker in takers:
        assert taker.stdout.readline() == "ready\n"
    said = [taker.communicate("go\n", timeout=120)[0].split() for taker in takers]
    assert sorted(said[0] + said[1]) == sorted(ids)
    assert jobs.counts() == {"released": 60}


def test_one_key_in_the_same_instant_is_one_job(queue):
    jobs, user = queue
    found, ready = [], threading.Barrier(6)

    def ask():
        for number in range(8):
            ready.wait()
            found.append(jobs.add(user, "lab", "videos", {"a": 1}, idempotency_key=str(number)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 48
    assert len({job.id for job, _ in found}) == 8
    assert sum(fresh for _, fresh in found) == 8


def test_a_job_that_is_cancelled_and_claimed_in_the_same_instant(queue):
    """Whoever is first, the other is told: a job that runs is never marked as cancelled."""
    jobs, user = queue
    ids = [jobs.add(user, "lab", "videos", {})[0].id for _ in range(30)]
    taken = []

    def work():
        while (job := jobs.claim("w")) is not None:
            taken.append(job)

    thread = threading.Thread(target=work)
    thread.start()
    for one in reversed(ids):
        jobs.cancel(one)
    thread.join()
    for job in taken:
        assert jobs.get(job.id).state == "running"
        assert jobs.beat(job) is True
        jobs.end(job, "cancelled")
    assert jobs.counts() == {"cancelled": 30}


def test_the_same_people_added_at_once(database_at):
    def add():
        with Database.open(database_at) as database:
            ready.wait()
            keys.append(People(database).add("ada", "lab", "creator"))

    keys, ready = [], threading.Barrier(4)
    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Database.open(database_at) as database:
        people = People(database)
        assert {people.identify(key).account.name for key in keys} == {"ada"}
        assert len(keys) == 4
        assert len(people.list()) == 1


def test_a_text_that_cannot_be_kept_is_the_askers_error(queue):
    jobs, user = queue
    for text in ("a\0b", "\ud800"):
        with pytest.raises(UsageError):
            jobs.add(user, "lab", "videos", {"prompt": text})
    assert jobs.counts() == {}


def test_pages_of_a_list_join(queue):
    jobs, user = queue
    ids = [jobs.add(user, "lab", "videos", {})[0].id for _ in range(7)]
    found, after = [], None
    while part := jobs.list("lab", limit=3, after=after, newest_first=False):
        found += [job.id for job in part]
        after = found[-1]
    assert found == ids


def test_cancel_waiting_running_ended(queue):
    jobs, user = queue
    waiting = jobs.add(user, "lab", "videos", {})[0]
    assert jobs.cancel(waiting.id).state == "cancelled"
    with pytest.raises(UsageError):
        jobs.cancel(waiting.id)
    running = jobs.add(user, "lab", "videos", {})[0]
    job = jobs.claim("w")
    assert jobs.cancel(running.id).state == "running"
    assert jobs.beat(job) is True


def test_a_deleted_job_leaves_no_prompt(queue, tmp_path):
    jobs, user = queue
    secret = "a very particular sentence 7f3a"
    job = jobs.add(user, "lab", "videos", {"prompt": secret})[0]
    with pytest.raises(UsageError):
        jobs.delete(job.id)
    jobs.cancel(job.id)
    jobs.delete(job.id)
    assert jobs.get(job.id) is None
    for path in tmp_path.glob("registry.db*"):
        assert secret.encode() not in path.read_bytes()


# ---------------------------------------------------------------- pages and their cookies


@pytest.fixture
def browser(place):
    """Logs in and gives a client with the cookie, and the token of its forms."""

    def log_in(*who):
        http = TestClient(place.app, follow_redirects=False)
        answer = http.post("/en/team/login", files={"key": (None, place.key(*who))})
        assert answer.status_code == 303
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        page = http.get("/en/team/policy").text
        return http, page.split('name="csrf" value="')[1].split('"')[0]

    return log_in


def form(**fields):
    return {name: (None, text) for name, text in fields.items()}


def test_a_session_ends_with_its_logout_and_with_another_login(place, browser):
    http, csrf = browser("ada")
    old = http.cookies["avsafe_session"]
    key = form(key=place.key("ada"))
    assert http.post("/en/team/login", files=key).status_code == 303
    with pytest.raises(NotAuthenticated):
        Sessions(place.database).of(old)
    token = http.cookies["avsafe_session"]
    csrf = Sessions(place.database).of(token).csrf
    assert http.post("/en/team/logout", files=form(csrf="x")).status_code == 403
    assert http.post("/en/team/logout", files=form(csrf=csrf)).status_code == 303
    with pytest.raises(NotAuthenticated):
        Sessions(place.database).of(token)


def test_forms_of_other_sites_are_not_taken(place, browser):
    http, csrf = browser("ada")
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site}
        for path, fields in (("login", {"key": place.key("eve", "other")}),
                             ("logout", {"csrf": csrf})):  # fmt: skip
            answer = http.post(f"/en/team/{path}", files=form(**fields), headers=headers)
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers


def test_a_body_that_is_no_form_is_not_written(place, browser):
    http, _ = browser("ada")
    answer = http.post("/en/team/new", content=b"x" * 4096, headers={"content-type": "image/png"})
    assert answer.status_code == 415
    assert not [p for p in (place.home.root / "uploads").iterdir() if p.is_dir()]


def test_a_consent_belongs_to_its_team(place, browser):
    http, csrf = browser("ada")
    fields = form(csrf=csrf, subject="speaker-9", modality="face", adult="yes", days="9" * 5000)
    fields |= {"files": ("x.png", b"picture")}
    assert http.post("/en/team/consent", files=fields).status_code == 400
    fields["days"] = (None, "30")
    assert http.post("/en/team/consent", files=fields).status_code == 303
    from avsafe.consent import ConsentRegister

    register = ConsentRegister(place.home.consent)
    record = next(r for r in register.list() if r.subject == "speaker-9")
    other, token = browser("eve", "other")
    assert "speaker-9" in http.get("/en/team/consent").text
    assert "speaker-9" not in other.get("/en/team/consent").text
    assert "speaker-9" not in other.get("/en/team/new").text
    assert other.get(f"/en/team/consent/{record.id}/receipt").status_code == 404
    revoke = other.post(f"/en/team/consent/{record.id}/revoke", files=form(csrf=token))
    assert revoke.status_code == 404
    assert register.get(record.id).revoked_at is None
    account = place.people.identify(place.key("eve", "other")).account
    job, _ = place.jobs.add(account.id, "other", "videos", {"consent_ids": [record.id]})
    assert worker.visible(place.home.consent, job) == []  # who knows its id cannot use it either
    place.jobs.cancel(job.id)


def test_the_ledger_shows_another_teams_entries_without_what_they_say(place, video, browser):
    ours, _ = browser("aud", "lab", "auditor")
    others, _ = browser("eva", "other", "auditor")
    path = f"/en/team/ledger?release={video.release_id}"
    assert "text-to-video" in ours.get(path).text
    page = others.get(path).text
    assert "The path leads to the signed root." in page
    assert "text-to-video" not in page
    assert "policy_sha256" not in page
    assert video.release_id not in others.get("/en/team/ledger").text


def test_who_is_suspended_may_look_and_nothing_else(place, browser):
    reviewer = place.headers("sue", "lab", "reviewer")
    http, _ = browser("sue", "lab", "reviewer")
    place.people.suspend("sue")
    try:
        assert place.http.get("/api/reviews", headers=reviewer).status_code == 403
        assert http.get("/en/team/reviews").status_code == 403
        assert place.http.get("/v1/videos", headers=reviewer).status_code == 200
    finally:
        place.people.suspend("sue", False)


def test_bodies_are_bounded_where_nobody_is_known(place):
    for path in ("/matches/byBinding", "/api/reviews/none"):
        answer = place.http.post(path, content=b" " * (1 << 20))
        assert answer.status_code == 413
        assert answer.headers["x-content-type-options"] == "nosniff"


# ---------------------------------------------------------------- limits and what time takes away


def test_a_team_queues_only_so_much(place):
    from dataclasses import replace

    made = replace(place.settings, team_jobs=2)
    http, headers = TestClient(create_app(made)), place.headers("max", "small")
    codes = [http.post("/v1/videos", json={"prompt": "x"}, headers=headers) for _ in range(3)]
    assert [c.status_code for c in codes] == [200, 200, 429]
    assert "retry-after" in codes[2].headers
    for one in codes[:2]:
        assert place.jobs.cancel(one.json()["id"]).state == "cancelled"


def test_pictures_when_nobody_works_end_with_a_clear_error(place):
    from dataclasses import replace

    http = TestClient(create_app(replace(place.settings, wait_s=0.3)))
    answer = http.post("/v1/images/generations", json={"prompt": PROMPT},
                       headers=place.headers("pia", "still"))  # fmt: skip
    assert answer.status_code == 503
    assert "nobody works" in answer.json()["error"]["message"]
    assert place.jobs.list("still") == ()


def test_one_key_in_two_teams_is_two_jobs(queue):
    jobs, user = queue
    people = People(jobs._database)
    people.add("ada", "second", "creator", key=False)
    first, _ = jobs.add(user, "lab", "videos", {"a": 1}, idempotency_key="k")
    second, fresh = jobs.add(user, "second", "videos", {"a": 1}, idempotency_key="k")
    assert fresh
    assert (first.team, second.team) == ("lab", "second")


def test_a_review_covers_what_the_reviewer_was_shown(place, waiting):
    reviewer = place.headers("rita", "lab", "reviewer")
    body = {"decision": "approve", "reason": "seen", "rules": ["R1-another"]}
    assert (
        place.http.post(f"/api/reviews/{waiting}", json=body, headers=reviewer).status_code == 400
    )
    assert place.jobs.get(waiting).state == "review"
    place.jobs.cancel(waiting)


def test_what_was_approved_is_decided_again(place, waiting):
    body = {"decision": "approve", "reason": "a ball"}
    reviewer = place.headers("rita", "lab", "reviewer")
    place.http.post(f"/api/reviews/{waiting}", json=body, headers=reviewer)
    place.people.suspend("ada")
    try:
        place.work()
    finally:
        place.people.suspend("ada", False)
    job = place.jobs.get(waiting)
    assert job.state == "denied"
    assert "F20-account-suspended" in job.error["rules"]


def test_who_is_suspended_while_it_is_made_gets_nothing(place, monkeypatch):
    job = place.client().videos.create(prompt=PROMPT, seconds="0.5", size="256x256")
    real = worker._Pulse.progress

    def progress(pulse, fraction, stage):
        real(pulse, fraction, stage)
        if stage == "release":  # at the very last
            place.people.suspend("ada")

    monkeypatch.setattr(worker._Pulse, "progress", progress)
    try:
        place.work()
    finally:
        place.people.suspend("ada", False)
    ended = place.jobs.get(job.id)
    assert (ended.state, ended.error["code"]) == ("denied", "user_left")
    assert not list(files.folder_of(place.settings, job.id).glob("out-*"))


def test_the_sweep_takes_what_is_kept_no_longer(tmp_path):
    made = Place(tmp_path / "home")
    user = made.people.identify(made.key("ada")).account.id

    def add(endpoint, state=None, **values):
        job, _ = made.jobs.add(user, "lab", endpoint, {"prompt": "p"})
        folder = files.folder_of(made.settings, job.id)
        folder.mkdir(parents=True)
        (folder / "in-portrait").write_bytes(b"x")
        (folder / "out-1.mp4").write_bytes(b"x")
        if state is not None:
            made.jobs.end(made.jobs.claim("w"), state, **values)
        return job.id

    released = add("videos", "released", output="out-1.mp4")
    review, unfetched = add("videos", "review"), add("images", "released", output="out-1.mp4")
    page, queued = add("pictures", "released", output="out-1.mp4"), add("images")
    stray = files.folder_of(made.settings, "video_" + "0" * 32)
    stray.mkdir()
    now = datetime.now(UTC)
    worker.sweep(made.settings, made.jobs, now + timedelta(hours=2))
    assert made.jobs.get(unfetched) is None  # nobody waits for it any more
    assert made.jobs.get(queued) is None
    assert not stray.exists()
    for one in (released, page):
        kept = [p.name for p in files.folder_of(made.settings, one).iterdir()]
        assert kept == ["out-1.mp4"]
    assert (files.folder_of(made.settings, review) / "in-portrait").exists()
    worker.sweep(made.settings, made.jobs, now + timedelta(days=30, hours=1))
    assert made.jobs.get(released) is None
    assert not files.folder_of(made.settings, released).exists()
    assert made.jobs.get(review).error["code"] == "review_expired"
    made.database.close()


def test_what_is_told_and_logged_names_no_path_and_no_prompt(tmp_path):
    from avsafe.server.plain import told, where

    said = told(
        UsageError(f"The consent record {tmp_path}/consent/c-1.json can't be used."), tmp_path
    )
    assert said == "The consent record a file here can't be used."
    try:
        float("a secret prompt")
    except ValueError as error:
        logged = where(error)
    assert "ValueError" in logged
    assert "secret" not in logged


def test_a_cancel_comes_too_late_for_a_release_that_is_complete(place, video):
    account = place.people.identify(place.key("ada")).account
    added, _ = place.jobs.add(account.id, "lab", "videos", {"consent_ids": []})
    held = place.jobs.claim("w", lease_s=-1)  # it dies after its release
    place.jobs.keeping(held, video.release_id, "out-1.mp4")
    place.jobs.cancel(added.id)
    place.work()
    ended = place.jobs.get(added.id)
    assert (ended.state, ended.release_id, ended.output) == (
        "released", video.release_id, "out-1.mp4"
    )  # fmt: skip
    place.jobs.delete(added.id)


# ---------------------------------------------------------------- kill -9


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_killed_worker_loses_no_job_and_releases_none_twice(
    tmp_path, monkeypatch, request, engine
):
    if engine == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, request.getfixturevalue("postgresql_url"))
    made = Place(tmp_path / "home")
    account_id = made.people.identify(made.key("ada")).account.id
    client = made.client()
    ids = [client.videos.create(prompt=PROMPT, seconds="1", size="256x256",
                                extra_body={"seed": n}).id for n in range(2)]  # fmt: skip
    code = (
        "from avsafe.server import jobs, worker; from avsafe.server.settings import Settings; "
        "jobs.LEASE_S = worker.LEASE_S = 1.0; worker.BEAT_S = 0.2; "
        "jobs.Jobs.claim.__kwdefaults__['lease_s'] = 1.0; "
        "jobs.Jobs.beat.__kwdefaults__['lease_s'] = 1.0; "
        "worker.run(Settings.from_environment(), until_empty=True)"
    )
    environment = os.environ | {
        "AVSAFE_HOME": str(made.home.root),
        "AVSAFE_SERVE_DETECTORS": "none",
    }
    for pause_s in (1.5, 2.5):  # in the middle of the work, wherever that is on this machine
        process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        time.sleep(pause_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1.1)  # the lease runs out
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
    states = [made.jobs.get(one) for one in ids]
    assert [job.state for job in states] == ["released"] * 2
    with open_workspace(made.home) as workspace:
        assert {r.release_id for r in workspace.registry.list()} == {j.release_id for j in states}
        assert workspace.ledger.orphans() == []
        assert workspace.ledger.verify().ok
    for job in states:
        found = list(files.folder_of(made.settings, job.id).glob("out-*"))
        assert [f.name for f in found] == [job.output]
    assert made.people.of_user(account_id, "lab") is not None
    made.database.close()
