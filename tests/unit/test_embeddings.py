"""Embeddings of people: sealed, deleted, looked up; whom a request resembles."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import select

from avsafe import consenting, likeness, media, recognition
from avsafe.acts import Actor
from avsafe.cli import doctor_likeness
from avsafe.consent import EMBEDDING_NOTICE
from avsafe.embeddings import KEY_FILE, Embeddings, Sealed
from avsafe.errors import LedgerError, UsageError, Withdrawn
from avsafe.home import DATABASE_VARIABLE, Home
from avsafe.ledger import WITHDRAWN, Ledger
from avsafe.policy import local_principal
from avsafe.registry.database import Database
from avsafe.registry.schema import embeddings as table
from avsafe.server.jobs import VIDEOS, Jobs
from avsafe.server.people import People
from avsafe.types import Approval, GenerationRequest, InputMedia, Task
from avsafe.workspace import open_workspace
from tests.likeness_kit import BLUE, GREEN, NOBODY, ORANGE, RED, ByColour, picture

ME = Actor("u-1", "ada")
VECTORS = np.random.default_rng(1).normal(size=(2, 128)).astype(np.float32)


@pytest.fixture
def store(database_at, tmp_path):
    with Database.open(database_at) as database:
        yield Embeddings(database, tmp_path / "keys"), database, tmp_path / "keys"


def test_what_was_sealed_opens_and_goes(store):
    kept, _, _ = store
    kept.put("c-1", "face", "net/1", VECTORS, None)
    (known,) = kept.known("face", "net/1")
    assert known.id == "c-1"
    assert np.array_equal(known.vectors, VECTORS)
    assert kept.known("voice", "net/1") == kept.known("face", "net/2") == ()
    assert kept.forget("c-1")
    assert not kept.forget("c-1")
    assert kept.known("face", "net/1") == ()


def test_nothing_readable_is_on_disk_and_nothing_stays(tmp_path):
    """File and write-ahead log hold neither the numbers nor, later, the row."""
    with Database.open(tmp_path / "r.db") as database:
        kept = Embeddings(database, tmp_path / "keys")
        kept.put("c-secret-row", "face", "net/1", VECTORS, None)
        plain = (VECTORS.astype("<f4").tobytes()[:64], VECTORS.astype(">f4").tobytes()[:64])
        written = b"".join(p.read_bytes() for p in tmp_path.glob("r.db*"))
        assert b"c-secret-row" in written
        assert not any(one in written for one in plain)
        kept.forget("c-secret-row")
        written = b"".join(p.read_bytes() for p in tmp_path.glob("r.db*"))
        assert b"c-secret-row" not in written


def test_a_sealed_row_is_bound_to_its_place(store):
    kept, database, keys = store
    kept.put("c-1", "face", "net/1", VECTORS, None)
    kept.put("c-2", "face", "net/1", VECTORS + 1, None)

    def row(name, **values):
        with database.writing() as connection:
            connection.execute(table.update().where(table.c.id == name).values(**values))

    with database.reading() as connection:
        query = select(table.c.id, table.c.sealed)
        sealed = dict(connection.execute(query).all())
    row("c-1", sealed=sealed["c-2"])  # another person's under this consent
    with pytest.raises(Sealed, match="c-1"):
        kept.known("face", "net/1")
    for damage in (sealed["c-1"][:-1], b"", sealed["c-1"][:20] + b"x" + sealed["c-1"][21:]):
        row("c-1", sealed=damage)
        with pytest.raises(Sealed, match="forget-embedding c-1"):
            kept.known("face", "net/1")
    row("c-1", sealed=sealed["c-1"], modality="voice")
    with pytest.raises(Sealed):
        kept.known("voice", "net/1")
    kept.forget("c-1")
    (keys / KEY_FILE).write_bytes(bytes(32))
    with pytest.raises(Sealed, match="another key"):
        kept.known("face", "net/1")
    (keys / KEY_FILE).write_bytes(b"short")
    with pytest.raises(Sealed, match="5 bytes"):
        kept.known("face", "net/1")
    (keys / KEY_FILE).unlink()
    with pytest.raises(Sealed, match="another key"):
        kept.known("face", "net/1")
    assert not (keys / KEY_FILE).exists()  # a new one would hide that the old one is gone


def test_a_key_is_replaced(store):
    kept, _, keys = store
    kept.put("c-1", "face", "net/1", VECTORS, None)
    before = (keys / KEY_FILE).read_bytes()
    assert kept.rotate() == 1
    assert (keys / KEY_FILE).read_bytes() != before
    (known,) = kept.known("face", "net/1")
    assert np.array_equal(known.vectors, VECTORS)
    (keys / KEY_FILE).write_bytes(before)
    with pytest.raises(Sealed):
        kept.known("face", "net/1")
    with pytest.raises(Sealed):
        kept.rotate()


def test_the_doctor_tells_whose_network_is_not_in_use(home, monkeypatch):
    one = ByColour()
    with Database.open(home.ensure().database) as database:
        kept = Embeddings(database, home.keys)
        kept.put("p-old", "face", "another/1", VECTORS, None)
        kept.put("p-new", "face", recognition.model_of(one), VECTORS, None)
        assert kept.beside(()) == {"p-old", "p-new"}
        for chosen, count in (({"face": one}, "1 people"), ({}, "2 people")):
            monkeypatch.setattr(recognition, "embedders", lambda chosen=chosen: chosen)
            found = {f.name: f for f in doctor_likeness.likeness(home, readable=True)}
            assert (found["idle embeddings"].ok, found["idle embeddings"].value) == (False, count)
        kept.forget("p-old")
        monkeypatch.setattr(recognition, "embedders", lambda: {"face": one})
        assert all(f.ok for f in doctor_likeness.likeness(home, readable=True))


def test_what_ended_is_swept(store):
    kept, _, _ = store
    now = datetime.now(UTC)
    kept.put("c-old", "face", "n/1", VECTORS, now + timedelta(days=1))
    kept.put("c-out", "face", "n/1", VECTORS, None)
    kept.put("c-on", "face", "n/1", VECTORS, now + timedelta(days=9))
    assert [k.id for k in kept.known("face", "n/1", now + timedelta(days=2))] == ["c-on", "c-out"]
    assert sorted(kept.sweep({"c-out"}, now + timedelta(days=2))) == ["c-old", "c-out"]
    assert kept.ids() == {"c-on"}


@pytest.mark.parametrize("wrong", [np.empty((0, 128)), np.full((1, 128), np.nan), np.ones(128)])
def test_vectors_that_are_none(store, wrong):
    with pytest.raises(UsageError):
        store[0].put("c-1", "face", "net/1", wrong, None)


def test_the_operator_names_networks(monkeypatch):
    found = {"a": ByColour(), "b": ByColour()}
    monkeypatch.setattr(recognition.plugins, "load", lambda kind, name: found[name])
    assert recognition.embedders({}) == {}
    assert recognition.embedders({recognition.VARIABLE: " a ,"}) == {"face": found["a"]}
    with pytest.raises(UsageError, match="two networks"):
        recognition.embedders({recognition.VARIABLE: "a,b"})
    monkeypatch.setattr(recognition, "embedders", dict)
    with pytest.raises(UsageError, match="switched on"):
        recognition.embedder("face")


# ---------------------------------------------------------------- consents with embeddings


@contextmanager
def _opened(folder, monkeypatch):
    """A state folder whose operator switched a network on; the pictures are our own, so they are
    looked at in this process."""
    monkeypatch.setattr(recognition, "embedders", lambda *_: {"face": ByColour()})
    trusted = partial(media.analyse, trusted=True)
    monkeypatch.setattr(recognition, "media", SimpleNamespace(analyse=trusted))
    monkeypatch.setattr(likeness, "shows_no_face", lambda _media: False)
    with open_workspace(Home(folder / "home")) as workspace:
        yield Place(workspace, folder)


@pytest.fixture
def place(tmp_path, monkeypatch):
    with _opened(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request, tmp_path, monkeypatch):
    """On both engines."""
    if request.param == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, request.getfixturevalue("postgresql_url"))
    with _opened(tmp_path, monkeypatch) as opened:
        yield opened


class Place:
    def __init__(self, workspace, folder):
        self.workspace, self.folder = workspace, folder
        self.consenting = consenting.Consenting(workspace.home, workspace.registry.database)

    def picture(self, *people, seed=0):
        return picture(self.folder / f"{hash(people) % 10**6}-{seed}.png", *people, seed=seed)

    def consent(self, *people, subject="speaker-7", granted_by="local", **changes):
        return self.consenting.record(
            [self.picture(*people)], subject, "face", actor=ME, granted_by=granted_by,
            adult=True, **{"embedding": True} | changes,
        )  # fmt: skip

    def protect(self, *people, embedding=True):
        return self.consenting.protect(
            [self.picture(*people)], "somebody", "face", actor=ME, entered_by="local",
            embedding=embedding,
        )  # fmt: skip

    def likeness(self, path, *, approval=None, consents=(), teams=(), purpose="general"):
        portrait = InputMedia(media.probe(path, trusted=True), "portrait")
        request = GenerationRequest(
            replace(local_principal(), teams=teams), Task.TALKING_HEAD, "talking-head",
            inputs=(portrait,), consent_ids=consents, purpose=purpose, approval=approval,
        )  # fmt: skip
        return likeness.of_request(request, self.workspace)

    def entries(self, subject):
        ledger = self.workspace.ledger
        return [(e.type, dict(e.body)) for e in ledger.entries(subject)]


def test_another_picture_is_proposed_and_never_more(either):
    record = either.consent(RED)
    other = either.picture(RED, seed=5)
    found = either.likeness(other)
    assert (found.status, found.scope) == ("proposed", ())
    assert [(one.number, one.consent_id) for one in found.proposals] == [(0, record.id)]
    sha256 = media.sha256_of(other)
    bound = Approval("rita", ("R24-consent-proposed",), "it is", "now", ((sha256, record.id),))
    found = either.likeness(other, approval=bound)
    assert (found.status, found.scope) == ("consented", ("general",))
    # an approval without it, or for another file, is no consent; and nothing is proposed twice
    assert either.likeness(other, approval=replace(bound, binds=())).status == "unknown"
    third = either.picture(RED, seed=6)
    assert either.likeness(third, approval=bound).status == "mismatch"
    either.consenting.withdraw(record.id, ME)
    withdrawn = either.likeness(other, approval=bound)
    assert (withdrawn.status, withdrawn.expired) == ("expired", (record.id,))


def test_no_proposal_when_in_doubt(place):
    place.consent(RED)
    doubtful = {
        "two faces": (RED, GREEN), "somebody else": (BLUE,), "between": (ORANGE,),
        "nobody": (NOBODY,),
    }  # fmt: skip
    for what, people in doubtful.items():
        assert place.likeness(place.picture(*people, seed=3)).status in ("unknown", "no_face"), what
    other = place.picture(RED, seed=5)
    assert place.likeness(other, purpose="commercial").status == "unknown"
    place.consent(ORANGE, subject="speaker-8")  # another person near: nobody knows who it is
    assert place.likeness(other).status == "unknown"


def test_one_person_with_two_records_is_one_person(place):
    place.consent(RED, generators=("world",))
    second = place.consent(RED)
    found = place.likeness(place.picture(RED, seed=5))
    assert [one.consent_id for one in found.proposals] == [second.id]


def test_another_teams_consent_is_not_told_of(place):
    record = place.consent(RED, granted_by="lab/ada")
    other = place.picture(RED, seed=5)
    assert place.likeness(other, teams=("other",)).status == "unknown"
    assert place.likeness(other, teams=("lab",)).proposals[0].consent_id == record.id


def test_without_agreement_or_after_it_ended_nobody_is_recognised(place):
    plain = place.consent(RED, embedding=False)
    other = place.picture(RED, seed=5)
    assert place.likeness(other).status == "unknown"
    assert place.likeness(place.picture(RED), consents=(plain.id,)).status == "consented"
    record = place.consent(RED)
    assert place.likeness(other).status == "proposed"
    assert place.consenting.forget_embedding(record.id, ME)
    assert place.likeness(other).status == "unknown"
    assert place.consenting.register.get(record.id).state(datetime.now(UTC)) == "live"
    assert place.likeness(place.picture(RED), consents=(record.id,)).status == "consented"
    assert record.id not in place.consenting.embeddings.ids()
    again = place.consent(RED)
    place.consenting.withdraw(again.id, ME)
    assert place.consenting.embeddings.ids() == frozenset()


def test_who_refused_is_refused(place):
    record, mine = place.consent(RED), place.picture(RED)
    assert place.likeness(mine, consents=(record.id,)).status == "consented"
    person = place.protect(RED)
    for path in (
        mine,
        place.picture(RED, seed=5),
        place.picture(ORANGE),
        place.picture(GREEN, RED),
    ):
        assert place.likeness(path, consents=(record.id,)).status == "protected"
    assert place.likeness(place.picture(GREEN)).status == "unknown"
    assert place.consenting.forget_embedding(person.id, ME)
    assert place.likeness(mine, consents=(record.id,)).status == "protected"  # by its hash
    assert place.likeness(place.picture(RED, seed=5)).status == "proposed"
    place.consenting.end_protection(person.id, ME)
    assert place.likeness(mine, consents=(record.id,)).status == "consented"
    with pytest.raises(UsageError):
        place.consenting.end_protection(person.id, ME)


def test_a_synthetic_picture_of_somebody_is_not_attested(place, monkeypatch):
    monkeypatch.setattr(likeness, "_attested", lambda *_: True)
    made = place.picture(RED, seed=7)
    assert place.likeness(made).status == "synthetic_attested"
    place.consent(RED, granted_by="lab/ada")
    assert place.likeness(made, teams=("other",)).status == "unknown"
    assert place.likeness(made, teams=("lab",)).status == "proposed"
    assert place.likeness(place.picture(BLUE)).status == "synthetic_attested"


def test_a_gallery_that_is_not_whole_believes_nobody(place, monkeypatch):
    monkeypatch.setattr(likeness, "_attested", lambda *_: True)
    place.consent(RED)
    blue = place.picture(BLUE)
    assert place.likeness(blue).status == "synthetic_attested"
    (place.workspace.home.keys / KEY_FILE).write_bytes(bytes(32))
    assert place.likeness(blue).status == "unknown"
    with place.workspace.registry.database.writing() as connection:
        connection.execute(table.delete())
    assert place.likeness(blue).status == "synthetic_attested"
    place.protect(GREEN, embedding=False)
    (path,) = place.workspace.home.consent.glob("p-*.json")
    path.write_text(path.read_text()[:-30])
    assert place.likeness(blue).status == "unknown"


@pytest.mark.parametrize("now", ["another network", "none"])
def test_who_refused_is_not_forgotten_with_the_network(place, monkeypatch, now):
    """Their numbers can be compared with nothing: nobody is believed until they can."""
    monkeypatch.setattr(likeness, "_attested", lambda *_: True)
    place.protect(RED)
    blue = place.picture(BLUE)
    assert place.likeness(blue).status == "synthetic_attested"
    other = ByColour()
    other.info = replace(other.info, version="2")
    monkeypatch.setattr(
        recognition, "embedders", lambda: {"face": other} if now == "another network" else {}
    )
    assert place.likeness(blue).status == "unknown"
    (one,) = place.consenting.people.list()
    place.consenting.embeddings.forget(one.id)
    assert place.likeness(blue).status == "synthetic_attested"


@pytest.mark.parametrize("people", [(NOBODY,), (RED, GREEN)])
def test_who_cannot_be_told_is_not_enrolled(place, people):
    for act in (place.consent, place.protect):
        with pytest.raises(UsageError, match="face was found"):
            act(*people)
    assert place.consenting.register.list() == place.consenting.people.list() == []
    assert len(place.workspace.ledger) == 0


# ---------------------------------------------------------------- the ledger


def test_what_people_decide_is_in_the_ledger(place):
    record = place.consent(RED)
    receipt = place.consenting.receipt(record, ME)
    place.consenting.receipt(record, ME)  # the same again is no other one
    place.consenting.forget_embedding(record.id, ME)
    after = place.consenting.receipt(place.consenting.register.get(record.id), ME)
    place.consenting.withdraw(record.id, ME)
    place.consenting.withdraw(record.id, ME)
    types = [type_ for type_, _ in place.entries(record.id)]
    assert types == [
        "consent-recorded", "embedding-stored", "consent-receipt", "embedding-deleted",
        "consent-receipt", "consent-withdrawn",
    ]  # fmt: skip
    by = {body["by"] for _, body in place.entries(record.id)}
    assert len(by) == 1
    assert "ada" not in str(place.entries(record.id))
    assert "speaker-7" not in str(place.entries(record.id))
    assert receipt["dpv:hasNotice"][1]["dct:description"] == EMBEDDING_NOTICE["face"]
    assert receipt["dpv:hasStorageCondition"]["dpv:hasStatus"] == "kept"
    assert after["dpv:hasStorageCondition"]["dpv:hasStatus"] == "deleted"
    assert place.workspace.ledger.verify().ok
    assert place.consenting.acts.by(ME) in by
    assert place.consenting.acts.forget(ME.id)
    assert place.consenting.acts.by(ME) not in by  # nobody can tell who it was


def test_nothing_is_released_after_a_withdrawal(either):
    ledger = either.workspace.ledger
    record = either.consent(RED, embedding=False)
    for release in ("r1", "r2"):
        ledger.intent(release, {"consent_ids": [record.id]})
    ledger.outcome("r1", "released", {})
    either.consenting.withdraw(record.id, ME)
    with pytest.raises(Withdrawn):
        ledger.outcome("r2", "released", {})
    ledger.outcome("r2", "denied", {})
    ledger.intent("r3", {"consent_ids": ["c-other"]})
    ledger.outcome("r3", "released", {})
    assert ledger.verify().ok
    with pytest.raises(LedgerError, match="in clear"):
        ledger.append("reviewed", "video_1", {"by": "ada"})


def test_a_log_that_released_after_a_withdrawal_does_not_verify(tmp_path, monkeypatch):
    monkeypatch.setattr("avsafe.ledger.withdrawal.refuse", lambda *_: None)
    with Ledger.open(tmp_path / "ledger.db", tmp_path) as ledger:
        ledger.intent("r1", {"consent_ids": ["c-1"]})
        whole = ledger.verify()
        ledger.append(WITHDRAWN, "c-1", {})
        ledger.outcome("r1", "released", {})
        for since in (None, whole.reached):  # the tail alone tells it as well
            found = ledger.verify(since=since)
            assert [p.seq for p in found.problems] == [2]
            assert "c-1" in found.problems[0].what


def test_an_expired_consent_that_is_used_is_noted(place, tmp_path):
    from avsafe import gate
    from avsafe.errors import Denied

    record = place.consent(RED, embedding=False)
    place.consenting.withdraw(record.id, ME)
    request = GenerationRequest(
        local_principal(), Task.TALKING_HEAD, "talking-head", "hello", consent_ids=(record.id,),
        inputs=(InputMedia(media.probe(place.picture(RED), trusted=True), "portrait"),),
    )  # fmt: skip
    with pytest.raises(Denied):
        gate.generate(request, tmp_path / "out.mp4", place.workspace)
    assert place.entries(record.id)[-1][0] == "consent-expired-use"
    release = place.entries(record.id)[-1][1]["release_id"]
    intent = next(place.workspace.ledger.entries(release))
    assert intent.body["likeness"] == "expired"


def test_words_of_the_page_are_those_of_the_notice():
    from avsafe.protection import NOTICE
    from avsafe.server.words import words

    for modality, text in EMBEDDING_NOTICE.items():
        assert words("en")(f"team:likeness:notice:{modality}") == text
    assert words("en")("team:likeness:protect-notice") == NOTICE


def test_a_damaged_protection_is_told(tmp_path: Path):
    from avsafe.protection import ProtectedPeople

    people = ProtectedPeople(tmp_path)
    one = people.add("x", "face", ["ab" * 32], entered_by="me", embedding=False)
    path = tmp_path / f"{one.id}.json"
    good = path.read_text()
    for bad in ("", "[]", "{}", good.replace("face", "gait"), good.replace("+00:00", ""),
                good.replace('"embedding": false', '"embedding": 0'), "[" * 100_000):  # fmt: skip
        path.write_text(bad)
        with pytest.raises(UsageError, match="protection"):
            people.list()
    path.rename(tmp_path / f"p-{'1' * 16}.json")
    (tmp_path / f"p-{'1' * 16}.json").write_text(good)
    with pytest.raises(UsageError, match="It holds"):
        people.list()


def test_on_the_command_line(tmp_path, monkeypatch):
    import json

    from typer.testing import CliRunner

    from avsafe.cli import app

    monkeypatch.setenv("AVSAFE_HOME", str(tmp_path / "home"))
    mine = str(picture(tmp_path / "a.png", RED))

    def run(*words, code=0):
        found = CliRunner().invoke(app, ["consent", *words])
        error = found.exception
        assert (getattr(error, "exit_code", None) or found.exit_code) == code, (words, error)
        return found.stdout

    add = ("add", mine, "--subject", "speaker-7", "--modality", "face", "--adult", "--json")
    run(*add, "--embedding", code=2)  # nobody switched it on
    monkeypatch.setattr(recognition, "embedders", lambda *_: {"face": ByColour()})
    record = json.loads(run(*add, "--embedding"))["id"]
    receipt = json.loads(run("receipt", record))
    assert receipt["dpv:hasStorageCondition"]["dpv:hasStatus"] == "kept"
    assert "1 sealed anew" in run("rotate-key")
    assert "deleted" in run("forget-embedding", record)
    assert "there was none" in run("forget-embedding", record)
    run("forget-embedding", "c-" + "0" * 16, code=2)
    person = json.loads(run("protect", mine, "--subject", "x", "--modality", "face", "--json"))
    assert person["id"] in run("protected")
    run("unprotect", person["id"])
    run("unprotect", person["id"], code=2)
    assert json.loads(run("protected", "--json")) == []
    with Database.open(Home.default().database) as database:
        lia = People(database).identify(People(database).add("lia", "lab", "creator")).account
        queue = Jobs(database)
        waits, other = (
            queue.add(lia.id, "lab", VIDEOS, {"consent_ids": [one]})[0] for one in (record, "c-1")
        )
    ended = json.loads(run("revoke", record, "--json"))
    assert (ended["state"], ended["jobs_denied"]) == ("revoked", 1)
    with Database.open(Home.default().database) as database:
        denied = Jobs(database).get(waits.id)
        assert (denied.state, denied.error["code"]) == ("denied", "consent_revoked")
        assert Jobs(database).get(other.id).state == "queued"
    run("revoke", "c-" + "0" * 16, code=2)
    assert "numbers" in run("notice", "voice")
    run("notice", "gait", code=2)
    run("forget-person", "local")
    run("forget-person", "local", code=2)
    home = Home(tmp_path / "home")
    with Ledger.open(home.log, home.keys) as ledger:
        assert ledger.verify().ok
        assert len(list(ledger.entries(record))) == 5
