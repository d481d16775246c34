"""A portrait of somebody who consented for another picture: proposed, bound by a reviewer, made,
withdrawn; and what of it stands in the ledger."""

from __future__ import annotations

from fractions import Fraction

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from avsafe import likeness, media, recognition, testing
from avsafe.acts import Actor
from avsafe.consent import FACE, VOICE
from avsafe.consenting import Consenting
from avsafe.home import DATABASE_VARIABLE
from avsafe.ledger import Ledger
from avsafe.server import worker
from avsafe.types import RELEASING
from tests import server_kit
from tests.likeness_kit import BLUE, RED, ByColour, picture


class Place(server_kit.Place):
    def __init__(self, root):
        super().__init__(root)
        self.keys = {}

    def key(self, name, role="creator", team="lab"):
        if (name, role, team) not in self.keys:
            self.keys[name, role, team] = self.people.add(name, team, role)
        return self.keys[name, role, team]

    def headers(self, *who):
        return {"authorization": f"Bearer {self.key(*who)}"}

    def browser(self, *who):
        return self.logged_in(self.key(*who))

    def work(self):
        worker.run(self.settings, until_empty=True)

    def entries(self, subject):
        with Ledger.open(self.home.log, self.home.keys) as ledger:
            return [(e.type, dict(e.body)) for e in ledger.entries(subject)]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path, monkeypatch):
    if request.param == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, request.getfixturevalue("postgresql_url"))
    monkeypatch.setattr(recognition, "embedders", lambda *_: {FACE: ByColour()})
    monkeypatch.setattr(likeness, "shows_no_face", lambda _media: False)
    made = Place(tmp_path / "home")
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    frame = next(iter(testing.textured_clip(0.1, 512, 384, Fraction(10)).frames))
    Image.fromarray(frame).save(folder / "scene.png")
    for name, people, seed in (("one", RED, 0), ("other", RED, 5), ("stranger", BLUE, 0)):
        picture(folder / f"{name}.png", people, seed=seed)
    return folder


def form(**fields):
    return {name: (None, text) for name, text in fields.items()}


def ask(place, pictures, name, **more):
    """A job with a portrait; what moves is the scene."""
    with (
        (pictures / f"{name}.png").open("rb") as portrait,
        (pictures / "scene.png").open("rb") as i,
    ):
        answer = TestClient(place.app).post(
            "/v1/videos", headers=place.headers("ada"), files={"portrait": portrait, "image": i},
            data={"task": "image-to-video", "prompt": "slow zoom in", "seconds": "1",
                  "size": "256x192", **more},
        )  # fmt: skip
    assert answer.status_code == 200, answer.text
    place.work()
    return place.jobs.get(answer.json()["id"])


def test_a_proposal_is_bound_and_a_withdrawal_ends_it(place, pictures):
    http, csrf = place.browser("ada")
    add = form(csrf=csrf, subject="speaker-9", modality="face", adult="yes", embedding="yes")
    with (pictures / "one.png").open("rb") as file:
        assert http.post("/en/team/consent", files=add | {"files": file}).status_code == 303
    page = http.get("/en/team/consent").text
    assert "biometric numbers kept, encrypted" in page
    record_id = page.split("/consent/c-")[1][:16]
    record_id = f"c-{record_id}"

    job = ask(place, pictures, "other")
    assert (job.state, job.decision["rules"]) == ("review", ["R24-consent-proposed"])
    assert [one["consent"] for one in job.decision["proposals"]] == [record_id]
    assert "vectors" not in str(job.decision)
    reviewer, token = place.browser("rita", "reviewer")
    shown = reviewer.get("/en/team/reviews").text
    assert "speaker-9" in shown
    assert record_id in shown

    api, rita = TestClient(place.app), place.headers("rita", "reviewer")
    url, yes = f"/api/reviews/{job.id}", {"decision": "approve", "reason": "same person"}
    for wrong in ({}, {"bind": "c-0000000000000000"}, {"bind": [record_id, "c-1"]}):
        assert api.post(url, json=yes | wrong, headers=rita).status_code == 400
    assert place.jobs.get(job.id).state == "review"
    assert place.entries(job.id) == []
    said = {"csrf": token, "decision": "approve", "reason": "it is", "bind-0": record_id,
            "rules": "R24-consent-proposed"}  # fmt: skip
    assert reviewer.post(f"/en/team/reviews/{job.id}", files=form(**said)).status_code == 303
    (reviewed,) = place.entries(job.id)
    assert reviewed[0] == "reviewed"
    assert (reviewed[1]["verdict"], reviewed[1]["bound"]) == ("approved", [record_id])
    assert "rita" not in str(reviewed)
    assert "it is" not in str(reviewed)
    place.work()
    job = place.jobs.get(job.id)
    assert job.state == "released", job.error
    intent = place.entries(job.release_id)[0]
    assert intent[1]["consent_ids"] == intent[1]["approval"]["bound"] == [record_id]
    assert intent[1]["likeness"] == "consented"

    # approved again, and withdrawn before a worker takes it
    second = ask(place, pictures, "other")
    bound = yes | {"bind": record_id}
    assert api.post(f"/api/reviews/{second.id}", json=bound, headers=rita).status_code == 200
    waiting = ask_without_work(place, pictures)
    revoke = http.post(f"/en/team/consent/{record_id}/revoke", files=form(csrf=csrf))
    assert revoke.status_code == 303
    assert place.jobs.get(second.id).error["code"] == "consent_revoked"
    place.work()
    assert place.jobs.get(waiting).state == "denied"  # nobody is recognised any more
    assert place.entries(record_id)[-1][0] == "consent-withdrawn"
    receipt = http.get(f"/en/team/consent/{record_id}")
    assert "withdrawn" in receipt.text
    assert "deleted" in receipt.text
    with Ledger.open(place.home.log, place.home.keys) as ledger:
        assert ledger.verify().ok


def ask_without_work(place, pictures):
    work, place.work = place.work, lambda: None
    try:
        return ask(place, pictures, "other").id
    finally:
        place.work = work


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_a_withdrawal_between_the_last_look_and_the_release(place, pictures, monkeypatch):
    """The worker saw a live consent, and the log refuses the outcome all the same."""
    me = Actor("u-1", "ada")
    consenting = Consenting(place.home, place.database)
    record = consenting.record(
        [pictures / "one.png"], "speaker-9", FACE, actor=me, granted_by="lab/ada", adult=True
    )

    def last_look(pulse):
        if pulse._stage == RELEASING:
            consenting.withdraw(record.id, me)
        return False

    monkeypatch.setattr(worker._Pulse, "cancelled", last_look)
    job = ask(place, pictures, "one", consent_ids=record.id)
    assert (job.state, job.error["code"]) == ("denied", "consent_revoked")
    assert not list((place.home.objects / "jobs").rglob("out-*"))
    with Ledger.open(place.home.log, place.home.keys) as ledger:
        ended = [e.body["status"] for e in ledger.entries() if e.type == "outcome"]
        assert ended == ["denied"]
        assert ledger.verify().ok


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_who_refused_a_denial_and_a_cancel_are_in_the_ledger(place, pictures):
    owner, csrf = place.browser("olga", "owner")
    other, token = place.browser("eve", "owner", "other")
    fields = form(csrf=csrf, subject="nobody-1", modality="face", embedding="yes")
    with (pictures / "one.png").open("rb") as file:
        assert owner.post("/en/team/protected", files=fields | {"files": file}).status_code == 303
    (person,) = [p.stem for p in place.home.consent.glob("p-*.json")]
    assert person in owner.get("/en/team/consent").text
    assert person not in other.get("/en/team/consent").text
    end = f"/en/team/protected/{person}/end"
    assert other.post(end, files=form(csrf=token)).status_code == 404
    job = ask(place, pictures, "other")
    assert (job.state, job.error["code"]) == ("denied", "F3-likeness-without-consent")
    assert "refused" not in str(job.error)  # who asks does not learn who is protected
    assert owner.post(end, files=form(csrf=csrf)).status_code == 303
    kinds = [kind for kind, _ in place.entries(person)]
    assert kinds == [
        "embedding-stored", "protection-recorded", "protection-ended", "embedding-deleted"
    ]  # fmt: skip

    waiting = ask_without_work(place, pictures)
    api = TestClient(place.app)
    cancelled = api.post(f"/v1/videos/{waiting}/cancel", headers=place.headers("ada"))
    assert cancelled.json()["state"] == "cancelled"
    assert [kind for kind, _ in place.entries(waiting)] == ["cancelled"]
    account = place.people.identify(place.key("ada")).account
    queued, _ = place.jobs.add(account.id, "lab", "videos", {"prompt": "x", "consent_ids": []})
    place.jobs.end(place.jobs.claim("w"), "review", decision={"rules": ["R2-violence"]})
    no = {"decision": "deny", "reason": "no"}
    rita = place.headers("rita", "reviewer")
    assert api.post(f"/api/reviews/{queued.id}", json=no, headers=rita).status_code == 200
    (entry,) = place.entries(queued.id)
    assert (entry[1]["verdict"], entry[1]["rules"]) == ("denied", ["R2-violence"])
    rows = owner.get("/en/team/ledger").text
    assert "<td>review</td><td>denied</td>" in rows
    assert queued.id[:12] in rows


@pytest.mark.parametrize(("network", "modality"), [("dlib-face", FACE), ("resemblyzer", VOICE)])
def test_the_networks_that_are_installed(shared_media, tmp_path, network, modality):
    """A person is near themself in another clip and far from others, by the limited process."""
    from avsafe import plugins
    from avsafe.errors import MissingExtra, UsageError

    try:
        one = plugins.load("embedders", network)
        one.prepare()
    except (MissingExtra, UsageError) as error:
        pytest.skip(str(error))
    assert one.info.modality == modality
    names = ("sadtalker_aoc", "retalking_3", "retalking_2")[modality == VOICE :]
    paths = [shared_media / "real_talking" / f"{name}.mp4" for name in names]
    if modality == FACE:
        for at, path in enumerate(paths):
            frame = next(iter(media.decode(path, trusted=True).frames))
            paths[at] = tmp_path / f"{at}.png"
            Image.fromarray(frame).save(paths[at])
    seen = [recognition.look(path, one) for path in paths]
    assert all(each.alone for each in seen)
    first, last = recognition.Known("c-1", seen[0].vectors), seen[-1]
    assert recognition.nearest(last, first) > one.info.other_above
    if modality == FACE:
        assert recognition.typical(seen[1], first) < one.info.same_below
        media.encode(testing.still(320, 240), tmp_path / "nobody.png")
        assert not len(recognition.look(tmp_path / "nobody.png", one).vectors)
