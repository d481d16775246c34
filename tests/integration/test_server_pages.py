"""Pages of a team: every page by every role, the first page, keys that people make, reports."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner

from avsafe.cli import app as cli
from avsafe.errors import UsageError
from avsafe.registry.database import Database
from avsafe.registry.store import Registry
from avsafe.server import files, published
from avsafe.server.keys import Keys
from avsafe.server.people import NotAllowed, NotAuthenticated, People
from avsafe.server.sessions import Sessions
from tests import server_kit


class Place(server_kit.Place):
    def __init__(self, root):
        super().__init__(root)
        self.keys = Keys(self.database)

    def browser(self, name, team="lab", role="creator"):
        """Somebody who is logged in, and the token of their forms."""
        return self.logged_in(self.people.add(name, team, role))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("pages") / "home")
    yield made
    made.database.close()


def form(**fields):
    return {name.replace("_", "-"): (None, text) for name, text in fields.items()}


# ---------------------------------------------------------------- every page by every role

MAY = {
    "owner": {"generate", "review", "audit", "admin"}, "creator": {"generate"},
    "reviewer": {"review", "audit"}, "auditor": {"audit"},
}  # fmt: skip
SCOPES = {
    ("GET", "/new"): "generate", ("POST", "/new"): "generate",
    ("POST", "/jobs/{job_id}/cancel"): "generate", ("POST", "/jobs/{job_id}/delete"): "generate",
    ("GET", "/reviews"): "review", ("GET", "/reviews/{job_id}/input/{number}"): "review",
    ("POST", "/reviews/{job_id}"): "review", ("POST", "/consent"): "generate",
    ("POST", "/consent/{record_id}/revoke"): "generate", ("GET", "/ledger"): "audit",
    ("POST", "/consent/{record_id}/forget"): "generate", ("POST", "/protected"): "review",
    ("POST", "/protected/{record_id}/end"): "review",
}  # fmt: skip
OPEN = {
    ("GET", "/"), ("GET", "/jobs"), ("GET", "/jobs/{job_id}"), ("GET", "/jobs/{job_id}/file"),
    ("GET", "/jobs/{job_id}/still"), ("GET", "/consent"), ("GET", "/consent/{record_id}"),
    ("GET", "/consent/{record_id}/receipt"),
    ("GET", "/policy"), ("POST", "/policy"), ("GET", "/reports"), ("GET", "/reports/{name}"),
    ("GET", "/keys"), ("POST", "/keys"), ("POST", "/keys/{key_id}/revoke"),
    ("POST", "/change"), ("POST", "/logout"),
}  # fmt: skip
PREFIX = "/en/team"


def _routes(app):
    """Method and path of every page of a team. FastAPI keeps an included router in one piece."""
    routers = [getattr(route, "original_router", None) for route in app.routes]
    return {
        (method, route.path.removeprefix(PREFIX))
        for router in routers
        if router is not None
        for route in router.routes
        if route.path.startswith(PREFIX) and not route.path.endswith("/login")
        for method in route.methods
    }


def test_all_pages_are_in_the_matrix(place):
    assert _routes(place.app) == set(SCOPES) | OPEN


def test_every_page_by_every_role(place):
    browsers = {role: place.browser(f"m-{role}", "matrix", role) for role in MAY}
    nobody = TestClient(place.app, follow_redirects=False)
    for method, path in sorted(_routes(place.app) - {("POST", "/logout")}):
        scope = SCOPES.get((method, path), "")
        address = PREFIX + path.replace("{number}", "0").replace("{name}", "none")
        address = address.replace("{job_id}", "none").replace("{record_id}", "none")
        address = address.replace("{key_id}", "none")
        for role, (http, csrf) in browsers.items():
            sent = {"files": form(csrf=csrf)} if method == "POST" else {}
            code = http.request(method, address, **sent).status_code
            allowed = not scope or scope in MAY[role]
            assert (code != 403) == allowed, (method, path, role, code)
            assert code < 500, (method, path, role, code)
            if method == "POST":
                wrong = http.post(address, files=form(csrf="x"))
                assert wrong.status_code == 403, (path, role)
        answer = nobody.request(method, address, files=form(csrf="x") if method == "POST" else None)
        assert answer.status_code == 303, (method, path)
        assert answer.headers["location"].startswith("/en/team/login")


def test_what_answers_a_form_leads_to_a_page_in_the_other_language(place):
    http, csrf = place.browser("lin", "lab", "owner")
    for path, there in (("keys", "keys"), ("policy", "policy"), ("protected", ""),
                        ("jobs/none/cancel", "jobs")):  # fmt: skip
        page = http.post(f"/en/team/{path}", files=form(csrf=csrf)).text
        assert f'<a href="/it/team/{there}" lang="it"' in page
        assert http.get(f"/it/team/{there}").status_code == 200


def test_without_a_provider_there_is_no_way_through_one(place):
    nobody = TestClient(place.app, follow_redirects=False)
    for method, path in (("GET", "login"), ("GET", "callback?state=a&code=b"), ("GET", "out"),
                         ("POST", "backchannel")):  # fmt: skip
        assert nobody.request(method, f"/auth/{path}").status_code == 404
    assert "/auth/" not in nobody.get("/en/team/login").text


def test_who_is_not_logged_in_comes_back_to_the_page(place):
    nobody = TestClient(place.app, follow_redirects=False)
    there = nobody.get("/it/team/ledger").headers["location"]
    assert there == "/it/team/login?next=%2Fit%2Fteam%2Fledger"
    assert 'name="next" value="/it/team/ledger"' in nobody.get(there).text
    fields = form(key=place.people.add("bac", "lab", "auditor"), next="/it/team/ledger")
    answer = nobody.post("/it/team/login", files=fields)
    assert answer.headers["location"] == "/it/team/ledger"


# ---------------------------------------------------------------- the first page


@pytest.fixture(scope="module")
def busy(place):
    """A team with a job in each of some states; the released ones are pictures, one a sound."""
    account = place.people.identify(place.people.add("ada", "busy", "creator")).account
    made = {}
    for other in place.jobs.list(None, states=("queued",)):  # of other tests: the next is ours
        place.jobs.cancel(other.id)

    def add(name, state, output=None, **values):
        request = {"task": "text-to-video", "prompt": f"<b>{name}</b>", "generator": "world"}
        job, _ = place.jobs.add(account.id, "busy", "videos", request)
        kept = {"output": output} if output else {}
        place.jobs.end(place.jobs.claim("w"), state, **kept, **values)
        made[name] = job.id
        if output:
            path = files.folder_of(place.settings, job.id) / output
            path.parent.mkdir(parents=True)
            Image.new("RGB", (800, 450), "teal").save(path, "PNG")

    add("picture", "released", "out-1.png")
    add("sound", "released", "out-1.wav")
    add("odd", "review", decision={"rules": ["R2"]}, error={"message": "look"})
    add("bad", "denied")
    return made


def test_the_first_page_says_how_a_team_stands(place, busy):
    with Registry.open(place.home.database) as registry:
        registry.settle(registry.reserve("ada").id, kept=True)
    place.people.set_quota("busy", 40)
    http, _ = place.browser("ada", "busy")
    page = http.get("/en/team/").text
    assert "1 of 40 used" in page
    assert "&lt;b&gt;picture&lt;/b&gt;" in page
    assert "<b>picture" not in page
    assert f"/en/team/jobs/{busy['picture']}/still" in page
    assert f"{busy['sound']}/still" not in page
    assert '<span class="number review">1</span>' in page
    assert "Look at them" not in page  # who asks does not review
    other, _ = place.browser("eve", "other", "owner")
    foreign = other.get("/en/team/").text
    assert "picture" not in foreign
    assert '<span class="number review">0</span>' in foreign
    assert "Nothing has been released yet." in foreign
    reviewer, _ = place.browser("rita", "busy", "reviewer")
    shown = reviewer.get("/it/team/").text
    assert "&lt;b&gt;odd&lt;/b&gt;" in shown


def test_a_still_is_made_once_and_goes_with_its_release(place, busy, monkeypatch):
    http, _ = place.browser("ada", "busy")
    path = f"/en/team/jobs/{busy['picture']}/still"
    first = http.get(path)
    assert Image.open(io.BytesIO(first.content)).size == (640, 360)
    monkeypatch.setattr(files, "still", lambda *_: pytest.fail("made again"))
    assert http.get(path).content == first.content
    other, _ = place.browser("eve", "other", "owner")
    for address in (path, f"/en/team/jobs/{busy['sound']}/still", "/en/team/jobs/none/still"):
        who = other if address == path else http
        assert who.get(address).status_code == 404
    folder = files.folder_of(place.settings, busy["picture"])
    files.tidy(place.settings, place.jobs.get(busy["picture"]))
    assert sorted(p.name for p in folder.iterdir()) == ["out-1.png", "still.webp"]
    files.forget(place.settings, busy["picture"])
    assert not folder.exists()
    assert http.get(path).status_code == 404


def test_jobs_by_state_and_page_by_page(place, monkeypatch):
    from avsafe.server import dashboard

    account = place.people.identify(place.people.add("pam", "pages", "creator")).account
    for number in range(5):
        place.jobs.add(account.id, "pages", "videos", {"prompt": f"wish {number}", "task": "t"})
    monkeypatch.setattr(dashboard, "LISTED", 2)
    http, _ = place.browser("pam", "pages")
    seen, address = [], "/en/team/jobs?state=queued"
    while address:
        page = http.get(address).text
        seen += [n for n in range(5) if f"wish {n}" in page]
        _, _, rest = page.partition('class="button plain-link" href="')
        address = rest.partition('"')[0].replace("&amp;", "&")
    assert seen == [3, 4, 1, 2, 0]  # of each page those that are in it; the newest page first
    assert "wish" not in http.get("/en/team/jobs?state=released").text
    assert "wish" in http.get("/en/team/jobs?state='--").text
    assert http.get("/en/team/jobs?after=../../x").status_code == 200
    for job in place.jobs.list("pages"):
        place.jobs.cancel(job.id)


# ---------------------------------------------------------------- keys


def test_a_key_is_made_shown_once_and_revoked(place):
    http, csrf = place.browser("kim", "keys", "owner")
    made = http.post("/en/team/keys", files=form(csrf=csrf, days="30", scope_generate="yes")).text
    key = made.split('<p class="secret code">')[1].split("<")[0]
    who = place.people.identify(key)
    assert (who.account.name, who.team, who.scopes) == ("kim", "keys", {"generate"})
    page = http.get("/en/team/keys").text
    assert f"avs_{who.key_id}_…" in page
    assert key.split("_", 2)[2] not in page
    assert http.post(f"/en/team/keys/{who.key_id}/revoke", files=form(csrf=csrf)).status_code == 303
    with pytest.raises(NotAuthenticated):
        place.people.identify(key)


@pytest.mark.parametrize("fields", [
    {}, {"scope_review": "yes"}, {"scope_admin": "yes"}, {"scope_generate": "yes", "days": "0"},
    {"scope_generate": "yes", "days": "9" * 50}, {"scope_generate": "yes", "days": "-1"},
    {"scope_generate": "yes", "days": "400"},
])  # fmt: skip
def test_a_key_that_nobody_may_make(place, fields):
    http, csrf = place.browser("cal", "keys", "creator")
    before = len(place.keys.of("cal"))
    answer = http.post("/en/team/keys", files=form(csrf=csrf, **fields))
    assert answer.status_code in (400, 403)
    assert "avs_" not in answer.text
    assert len(place.keys.of("cal")) == before


def test_keys_of_others_do_not_exist(place):
    key_id = place.people.add("vic", "keys", "creator").split("_")[1]
    elsewhere = place.people.add("cal", "second", "creator").split("_")[1]
    http, csrf = place.browser("cal", "keys", "owner")
    assert key_id not in http.get("/en/team/keys").text
    for one in (key_id, elsewhere, "none", "0" * 12):
        answer = http.post(f"/en/team/keys/{one}/revoke", files=form(csrf=csrf))
        assert answer.status_code == 404
    assert {k.state(datetime.now(UTC)) for k in place.keys.of("vic")} == {"live"}


def test_who_is_suspended_makes_no_key(place):
    http, csrf = place.browser("sus", "keys", "owner")
    place.people.suspend("sus")
    answer = http.post("/en/team/keys", files=form(csrf=csrf, scope_generate="yes"))
    assert answer.status_code == 403
    assert "suspended" in http.get("/en/team/keys").text


@pytest.fixture
def people_keys(database_at):
    with Database.open(database_at) as database:
        yield People(database), Keys(database), Sessions(database)


def test_a_key_made_with_a_stolen_key_ends_with_it(people_keys):
    people, keys, sessions = people_keys
    stolen = people.add("ada", "lab", "owner", days=5)
    who = sessions.of(sessions.log_in(stolen)).who
    child = keys.make(who, ["review", "generate"], 300)
    grandchild = keys.make(sessions.of(sessions.log_in(child)).who, ["generate"], 300)
    assert people.identify(grandchild).scopes == {"generate"}
    with pytest.raises(NotAllowed):
        keys.make(people.identify(child), ["admin"], 1)
    ends = {k.id: k.expires_at for k in keys.of("ada")}
    assert ends[child.split("_")[1]] == ends[stolen.split("_")[1]]
    session = sessions.log_in(child)
    keys.revoke(stolen.split("_")[1])
    for one in (stolen, child, grandchild):
        with pytest.raises(NotAuthenticated):
            people.identify(one)
    with pytest.raises(NotAuthenticated):
        sessions.of(session)


def test_a_key_is_replaced_without_a_gap(people_keys):
    people, keys, _ = people_keys
    people.add("ada", "lab", "owner", key=False)
    old = people.new_key("ada", "lab", days=40, scopes=["review"])
    old_id, now = old.split("_")[1], datetime.now(UTC)
    new = keys.rotate(old_id, grace=timedelta(hours=2))
    assert people.identify(new).scopes == people.identify(old).scopes == {"review"}
    later = now + timedelta(hours=3)
    with pytest.raises(NotAuthenticated):
        people.identify(old, later)
    assert people.identify(new, now + timedelta(days=39)).team == "lab"
    at_once = keys.rotate(new.split("_")[1], grace=timedelta(0), days=3)
    with pytest.raises(NotAuthenticated):
        people.identify(new)
    with pytest.raises(NotAuthenticated):
        people.identify(at_once, now + timedelta(days=4))
    keys.revoke(at_once.split("_")[1])
    for wrong in (at_once.split("_")[1], old_id[::-1], "", new.split("_")[1]):
        with pytest.raises(UsageError):
            keys.rotate(wrong)
    third = people.new_key("ada", "lab").split("_")[1]
    with pytest.raises(UsageError):
        keys.rotate(third, grace=timedelta(days=-1))
    people.remove("ada", "lab")
    with pytest.raises(UsageError):
        keys.rotate(third)


def test_a_replaced_key_lasts_no_longer_than_the_one_it_hangs_on(people_keys):
    people, keys, _ = people_keys
    first = people.add("ada", "lab", "creator", days=10)
    child = keys.make(people.identify(first), ["generate"], 10)
    new = keys.rotate(child.split("_")[1], days=90)
    ends = {k.id: k.expires_at for k in keys.of("ada")}
    assert ends[new.split("_")[1]] == ends[first.split("_")[1]]
    keys.rotate(first.split("_")[1], grace=timedelta(0))
    with pytest.raises(UsageError):
        keys.rotate(new.split("_")[1])


def test_there_are_only_so_many_keys(people_keys):
    people, keys, sessions = people_keys
    who = sessions.of(sessions.log_in(people.add("ada", "lab", "creator"))).who
    for _ in range(19):
        keys.make(who, ["generate"])
    with pytest.raises(UsageError, match="revoke one"):
        keys.make(who, ["generate"])


def test_keys_and_identities_on_the_command_line():
    run = CliRunner().invoke
    made = run(cli, ["users", "add", "--name", "ada", "--team", "lab", "--role", "creator"])
    key = made.stdout.split(": ")[1].strip()
    listed = run(cli, ["users", "keys", "--name", "ada"])
    assert key.split("_")[1] in listed.stdout
    assert key.split("_", 2)[2] not in listed.stdout
    new = run(cli, ["users", "rotate-key", key, "--grace-hours", "1", "--json"])
    assert '"api_key": "avs_' in new.stdout
    assert run(cli, ["users", "revoke", key.split("_")[1]]).exit_code == 0
    assert run(cli, ["users", "rotate-key", key]).exit_code != 0
    issuer = ["--issuer", "https://login.example.org", "--subject", "s-1"]
    assert run(cli, ["users", "link", "--name", "ada", *issuer]).exit_code == 0
    assert run(cli, ["users", "link", "--name", "eve", *issuer]).exit_code != 0
    assert '"subject": "s-1"' in run(cli, ["users", "list", "--json"]).stdout
    assert "s-1 at https://login.example.org" in run(cli, ["users", "list"]).stdout
    assert "1 gone" in run(cli, ["users", "unlink", "--name", "ada"]).stdout


# ---------------------------------------------------------------- reports


def test_reports_are_shown_in_a_sandbox(place):
    http, _ = place.browser("rex", "lab", "auditor")
    assert "No report is published here." in http.get("/en/team/reports").text
    folder = place.home.root / published.FOLDER
    (folder / "run-7").mkdir(parents=True)
    (folder / "marks.html").write_text("<title>Marks &lt;i&gt;</title><script>x()</script>")
    (folder / "run-7" / "report.html").write_text("<title>Run 7</title>")
    page = http.get("/en/team/reports").text
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "Run 7" in page
    answer = http.get("/en/team/reports/marks")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-popups; default-src 'none'")
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Run 7" in http.get("/en/team/reports/run-7").text


def test_only_what_lies_in_the_folder_is_a_report(tmp_path):
    (tmp_path / "secret.html").write_text("<title>secret</title>")
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "report.html").write_text("outside")
    (folder / "big.html").write_bytes(b"x")
    with (folder / "big.html").open("r+b") as file:
        file.truncate(published.MOST_BYTES + 1)
    (folder / "dir.html").mkdir()
    (folder / "notes.txt").write_text("x")
    (folder / "ok.html").write_bytes(b"\xff<title>\xfe")
    assert [one.name for one in published.reports(folder)] == ["ok"]
    for name in ("../secret", "..", "link", "linked", "big", "dir", "notes", "notes.txt", "",
                 "%2e%2e/secret", ".hidden", "ok\x00", "x" * 200, "ok/../../secret"):  # fmt: skip
        assert published.report(folder, name) is None, name
    assert published.reports(tmp_path / "none") == []


def test_a_path_that_climbs_out_finds_nothing(place):
    (place.home.root / "secret.html").write_text("secret")
    http, _ = place.browser("rex", "lab", "auditor")
    for path in ("..%2fsecret", "%2e%2e/secret", "../../secret.html", "..%5csecret"):
        answer = http.get(f"/en/team/reports/{path}")
        assert answer.status_code == 404
        assert answer.text != "secret"
