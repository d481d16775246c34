"""What reviewers and others send: who may is asked again when it is there; texts that cannot be
kept, and rules and requests that nobody writes by hand."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from avsafe.ledger import Ledger
from avsafe.policy.engine import DEFAULT_FOLDER
from avsafe.server.app import create_app
from avsafe.server.jobs import VIDEOS
from avsafe.server.keys import Keys
from avsafe.server.sessions import Sessions
from avsafe.server.visits import COOKIE
from tests import server_kit


class Place(server_kit.Place):
    def browser(self, key):
        """A session's cookie, and the token of its forms."""
        http = TestClient(self.app, follow_redirects=False)
        http.post("/en/team/login", files={"key": (None, key)})
        page = http.get("/en/team/keys").text
        return http.cookies[COOKIE], re.search(r'name="csrf" value="([^"]+)"', page)[1]

    def sent(self, path, header, texts, meanwhile):
        """The status of a form whose last bytes come after ``meanwhile``."""
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in texts.items()
        ]
        chunks = ["".join(parts).encode(), b"--b--\r\n"]
        status = []

        async def receive():
            if len(chunks) == 1:
                await asyncio.to_thread(meanwhile)
            body = chunks.pop(0) if chunks else b""
            return {"type": "http.request", "body": body, "more_body": bool(chunks)}

        async def send(message):
            if message["type"] == "http.response.start":
                status.append(message["status"])

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "client": ("127.0.0.1", 1), "server": ("testserver", 80),
            "headers": [(b"host", b"testserver"), header,
                        (b"content-type", b"multipart/form-data; boundary=b")],
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        return status[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("meanwhile") / "home")
    yield made
    made.database.close()


def _cookie(value):
    return b"cookie", f"{COOKIE}={value}".encode()


def _review(place):
    place.people.add("ada", "lab", "creator", key=False)
    ada = next(one for one in place.people.list() if one.name == "ada")
    request = {"task": "text-to-video", "prompt": "x", "generator": "world", "inputs": []}
    job, _ = place.jobs.add(ada.id, "lab", VIDEOS, request)
    held = place.jobs.claim("w")
    assert held.id == job.id
    place.jobs.end(held, "review", error={}, decision={"rules": ["r"], "proposals": []})
    return job.id


@pytest.mark.parametrize("end", ["suspended", "removed", "logged out", "key revoked", "nothing"])
def test_who_may_no_longer_review_decides_nothing(place, end):
    name = f"rex {end}"
    key = place.people.add(name, "lab", "reviewer")
    job_id, (cookie, csrf) = _review(place), place.browser(key)

    def meanwhile():
        match end:
            case "suspended":
                place.people.suspend(name)
            case "removed":
                place.people.add(name, "lab", "creator", key=False)
                place.people.remove(name, "lab", "reviewer")
            case "logged out":
                Sessions(place.database).log_out(cookie)
            case "key revoked":
                Keys(place.database).revoke(key.split("_")[1])

    texts = {"csrf": csrf, "decision": "approve", "reason": "fine", "rules": "r"}
    status = place.sent(f"/en/team/reviews/{job_id}", _cookie(cookie), texts, meanwhile)
    state = place.jobs.get(job_id).state
    place.jobs.cancel(job_id)
    if end == "nothing":
        assert (status, state) == (303, "queued")
    else:
        assert (status, state) == (303 if end in ("logged out", "key revoked") else 403, "review")


def test_a_session_that_ended_makes_no_key(place):
    key = place.people.add("kim", "lab", "creator")
    cookie, csrf = place.browser(key)
    texts = {"csrf": csrf, "scope-generate": "yes", "days": "90"}
    ended = lambda: Sessions(place.database).log_out(cookie)  # noqa: E731
    assert place.sent("/en/team/keys", _cookie(cookie), texts, ended) == 303
    assert len(Keys(place.database).of("kim")) == 1


@pytest.mark.parametrize(("revoked", "status"), [(True, 401), (False, 200)])
def test_a_key_that_was_revoked_queues_nothing(place, revoked, status):
    name = f"ken {revoked}"
    key = place.people.add(name, "studio", "creator")
    header = b"authorization", f"Bearer {key}".encode()

    def meanwhile():
        if revoked:
            Keys(place.database).revoke(key.split("_")[1])

    assert place.sent("/v1/videos", header, {"prompt": "a red ball"}, meanwhile) == status
    queued = place.jobs.list("studio", states=("queued",))
    assert len(queued) == (not revoked)
    for job in queued:
        place.jobs.cancel(job.id)


@pytest.mark.parametrize(("reason", "status"), [
    ("a\\u0000b", 400), ("a\\ud800b", 422), ("fine", 200),
])  # fmt: skip
def test_a_reason_that_cannot_be_kept_decides_nothing(place, reason, status):
    http, job_id = TestClient(place.app), _review(place)
    key = place.people.add("rae", "lab", "reviewer")
    answer = http.post(
        f"/api/reviews/{job_id}",
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        content=f'{{"decision": "deny", "reason": "{reason}"}}',
    )
    assert (answer.status_code, place.jobs.get(job_id).state) == (
        status, "denied" if status == 200 else "review",
    )  # fmt: skip
    assert reason not in answer.text or status == 200
    with Ledger.open(place.home.log, place.home.keys) as ledger:
        noted = [entry.type for entry in ledger.entries(job_id)]
    assert noted == (["reviewed"] if status == 200 else [])
    if status != 200:
        place.jobs.cancel(job_id)


CASE = '{"task": "text-to-video", "prompt": "%s", "parameters": %s}'


@pytest.mark.parametrize(("rules", "case"), [
    ("", CASE % ("a red ball", "{}")),
    ("(" * 700, CASE % ("a red ball", "{}")),  # the page says what is wrong with them
    ("", CASE % ("\\ud800", "{}")),
    ("", CASE % ("x", '{"a":' * 450 + "1" + "}" * 450)),
    ("", "[" * 30000),
])  # fmt: skip
def test_what_the_simulator_is_given_is_answered(place, rules, case):
    cookie, csrf = place.browser(place.people.add("una", "lab", "auditor"))
    base = (DEFAULT_FOLDER / "base.cedar").read_text()
    if rules:
        base += f'@id("x") @reason("r") permit(principal, action, resource) when {{ {rules} }};'
    texts = {"csrf": csrf, "base": base, "cases": case}
    found = place.sent("/en/team/policy", _cookie(cookie), texts, lambda: None)
    assert found == 200


def test_no_other_host_of_the_domain_plants_a_session(place):
    settings = replace(place.settings, address="https://avsafe.example")
    http = TestClient(create_app(settings), base_url=settings.address, follow_redirects=False)
    planted = place.browser(place.people.add("mallory", "lab", "creator"))[0]
    answer = http.get("/en/team/keys", headers={"cookie": f"{COOKIE}={planted}"})
    assert answer.status_code == 303
    key = place.people.add("victor", "lab", "creator")
    answer = http.post("/en/team/login", files={"key": (None, key)})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"__Host-{COOKIE}=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert "domain" not in cookie.lower()
    page = http.get("/en/team/keys")
    assert "victor" in page.text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    gone = http.post("/en/team/logout", files={"csrf": (None, csrf)}).headers["set-cookie"]
    assert gone.startswith(f'__Host-{COOKIE}="";')
    assert "Secure" in gone
    assert http.get("/en/team/keys").status_code == 303
