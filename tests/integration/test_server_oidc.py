"""Logging in by an OpenID provider (a real server of our own), and attacks on the way there."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import func, select

from avsafe.errors import UsageError
from avsafe.home import DATABASE_VARIABLE, Home
from avsafe.registry.database import Database
from avsafe.registry.schema import logins, users
from avsafe.server import oidc
from avsafe.server.app import create_app
from avsafe.server.identities import Identities, Stale
from avsafe.server.login import safe_path
from avsafe.server.people import NotAuthenticated, People
from avsafe.server.sessions import Sessions
from avsafe.server.settings import Settings
from tests.oidc_kit import CLIENT, SECRET, Provider

ADDRESS = "http://127.0.0.1:8765"
TEAMS = """
[groups]
"/creators" = ["lab:creator"]
"/safety" = ["lab:reviewer", "press:reviewer"]
"""


@pytest.fixture(scope="module")
def provider():
    made = Provider()
    made.redirect_uri = f"{ADDRESS}/auth/callback"
    yield made
    made.close()


class Place:
    """A service with the provider."""

    def __init__(self, root, provider):
        self.home = Home(root).ensure()
        (root / "client-secret").write_text(SECRET + "\n")
        (root / oidc.TEAMS).parent.mkdir()
        (root / oidc.TEAMS).write_text(TEAMS)
        self.settings = Settings(
            home=self.home, generate=True, detectors="none", address=ADDRESS,
            oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_label="Lab",
            oidc_client_secret_file=str(root / "client-secret"),
        )  # fmt: skip
        self.database = Database.open(self.home.database)
        self.people, self.sessions = People(self.database), Sessions(self.database)
        self.identities = Identities(self.database)
        self.app = create_app(self.settings)

    def browser(self, app=None):
        return TestClient(app or self.app, base_url=ADDRESS, follow_redirects=False)

    def to_provider(self, browser, after="/en/team/new"):
        """The address at which the provider sends the browser back."""
        sent = browser.get("/auth/login", params={"next": after})
        assert sent.status_code == 303, sent.text
        back = httpx.get(sent.headers["location"])
        assert back.status_code == 302, back.text
        return back.headers["location"]

    def log_in(self, browser=None, **who):
        browser = browser or self.browser()
        return browser, browser.get(self.to_provider(browser, **who))


@pytest.fixture(scope="module")
def place(tmp_path_factory, provider):
    made = Place(tmp_path_factory.mktemp("oidc") / "home", provider)
    yield made
    made.database.close()


@pytest.fixture(autouse=True)
def _as_new(provider):
    provider.who = {"sub": "subject-1", "preferred_username": "ada", "groups": ["/creators"]}
    provider.twist, provider.metadata, provider.down = None, {}, False


def is_in(browser):
    return browser.get("/en/team/").status_code == 200


# ---------------------------------------------------------------- the way there and back


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_login_begun_at_one_process_ends_at_another(
    tmp_path, monkeypatch, request, provider, engine
):
    if engine == "postgresql":
        monkeypatch.setenv(DATABASE_VARIABLE, request.getfixturevalue("postgresql_url"))
    place = Place(tmp_path / "home", provider)
    second = create_app(place.settings)
    browser = place.browser()
    back = place.to_provider(browser)
    there = place.browser(second)
    there.cookies = browser.cookies
    answer = there.get(back)
    assert answer.status_code == 200
    assert "url=/en/team/new" in answer.text
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    who = place.sessions.of(there.cookies["avsafe_session"]).who
    assert (who.account.name, who.team) == ("ada@127.0.0.1", "lab")
    assert who.scopes == {"generate"}
    assert there.get("/en/team/new").status_code == 200
    assert there.get("/en/team/reviews").status_code == 403
    place.database.close()


def test_the_login_page_has_a_button_and_nothing_is_fetched_before(place, provider):
    provider.down = True
    for language, said in (("en", "Log in with Lab"), ("it", "Accedi con Lab")):
        page = place.browser().get(f"/{language}/team/login?next=/{language}/team/ledger").text
        assert said in page
        assert f"/auth/login?next=/{language}/team/ledger" in page
    fresh = create_app(place.settings)
    answer = place.browser(fresh).get("/auth/login")
    assert answer.status_code == 502
    assert "does not answer" in answer.text


def test_what_the_browser_is_given_on_its_way(place, provider):
    sent = place.browser().get("/auth/login")
    query = {k: v[0] for k, v in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert query["scope"] == "openid profile"
    assert query["code_challenge_method"] == "S256"
    assert "code_verifier" not in query
    assert min(len(query[k]) for k in ("state", "nonce", "code_challenge")) >= 43
    cookie = sent.headers["set-cookie"].lower()
    assert "samesite=lax" in cookie
    assert "httponly" in cookie
    assert "/auth/" not in sent.headers["location"].split("redirect_uri")[0]


def test_on_a_secure_address_cookies_are_for_it_alone(place, provider):
    settings = replace(place.settings, address="https://avsafe.example")
    app = create_app(settings)
    answer = TestClient(app, base_url="https://avsafe.example", follow_redirects=False).get(
        "/auth/login"
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-avsafe_login=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie
    assert "redirect_uri=https%3A%2F%2Favsafe.example%2Fauth" in answer.headers["location"]


def test_a_client_without_a_secret(place, provider, monkeypatch):
    monkeypatch.setattr(provider, "public", True)
    app = create_app(replace(place.settings, oidc_client_secret_file=""))
    browser = place.browser(app)
    assert browser.get(place.to_provider(browser)).status_code == 200
    assert is_in(browser)
    browser, answer = place.log_in()  # and one with a secret is not taken for it
    assert (answer.status_code, is_in(browser)) == (502, False)


def test_the_providers_keys_rotate(place, provider, monkeypatch):
    assert is_in(place.log_in()[0])
    provider.rotate("k2")
    monkeypatch.setattr(oidc, "_AGAIN_S", 0.0)
    assert is_in(place.log_in()[0])


# ---------------------------------------------------------------- who comes in


def test_without_a_group_nobody_comes_in(place, provider):
    with place.database.reading() as connection:
        before = connection.execute(select(func.count()).select_from(users)).scalar()
    for groups in ([], ["/other", ["/creators"]], None, {"/creators": 1}, "creators"):
        provider.who = {"sub": "stranger", "groups": groups}
        browser, answer = place.log_in()
        assert answer.status_code == 403, groups
        assert not is_in(browser)
    with place.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(users)).scalar() == before


def test_a_name_or_an_address_of_mail_is_nobody(place, provider):
    """A provider's people choose them: they never become a user that was made here."""
    place.people.add("root", "lab", "owner", key=False)
    place.people.add("root@127.0.0.1", "lab", "owner", key=False)
    provider.who = {"sub": "mallory", "preferred_username": "root", "name": "root",
                    "email": "root@127.0.0.1", "groups": ["/creators"]}  # fmt: skip
    browser, _ = place.log_in()
    who = place.sessions.of(browser.cookies["avsafe_session"]).who
    assert who.account.name == "root@127.0.0.1-2"
    assert who.principal.roles == ("creator",)
    provider.who["preferred_username"] = "somebody <b>else</b>"
    again, _ = place.log_in()
    assert place.sessions.of(again.cookies["avsafe_session"]).who.account.id == who.account.id


def test_a_user_is_tied_to_an_identity_by_the_operator(place, provider):
    place.people.add("olga", "press", "owner", key=False)
    place.identities.link("olga", provider.issuer, "subject-olga")
    provider.who = {"sub": "subject-olga", "groups": []}
    browser, _ = place.log_in()
    who = place.sessions.of(browser.cookies["avsafe_session"]).who
    assert (who.account.name, who.team, who.principal.roles) == ("olga", "press", ("owner",))
    place.identities.unlink("olga")
    assert not is_in(browser)
    for wrong in (("nobody", provider.issuer, "x"), ("olga", "", "x"), ("olga", "i", "x" * 300)):
        with pytest.raises(UsageError):
            place.identities.link(*wrong)


def test_who_leaves_the_group_loses_the_role_sessions_and_keys(place, provider):
    provider.who = {"sub": "lea", "preferred_username": "lea", "groups": ["/safety"]}
    browser, _ = place.log_in()
    who = place.sessions.of(browser.cookies["avsafe_session"]).who
    assert who.account.teams == ("lab", "press")
    key = place.people.new_key(who.account.name, "press")
    assert place.people.identify(key).team == "press"
    with pytest.raises(NotAuthenticated):  # no login for a while: a key does not outlive the group
        place.people.identify(key, datetime.now(UTC) + timedelta(days=15))
    provider.who["groups"] = []
    _, answer = place.log_in()
    assert answer.status_code == 403
    assert not is_in(browser)
    with pytest.raises(NotAuthenticated):
        place.people.identify(key)


def test_who_is_suspended_may_look_and_nothing_else(place, provider):
    provider.who = {"sub": "sue", "preferred_username": "sue", "groups": ["/creators"]}
    browser, _ = place.log_in()
    name = place.sessions.of(browser.cookies["avsafe_session"]).who.account.name
    place.people.suspend(name)
    assert browser.get("/en/team/new").status_code == 403
    again, _ = place.log_in()
    assert again.get("/en/team/new").status_code == 403
    place.people.suspend(name, False)
    assert again.get("/en/team/new").status_code == 200


def test_a_session_ends_after_its_minutes(place, provider):
    browser, _ = place.log_in()
    token = browser.cookies["avsafe_session"]
    with pytest.raises(NotAuthenticated):
        place.sessions.of(token, datetime.now(UTC) + timedelta(minutes=60, seconds=1))


def test_a_team_is_changed_to_one_of_ones_own_and_no_other(place, provider):
    provider.who = {"sub": "tea", "groups": ["/safety"]}
    browser, _ = place.log_in()
    token = browser.cookies["avsafe_session"]

    def change(team):
        csrf = place.sessions.of(token).csrf
        return browser.post("/en/team/change", files={"csrf": (None, csrf), "team": (None, team)})

    assert change("other").status_code == 400
    assert change("press").status_code == 303
    assert place.sessions.of(token).who.team == "press"
    by_key = place.sessions.log_in(place.people.add("kay", "lab", "creator"))
    place.people.add("kay", "press", "owner", key=False)
    with pytest.raises(UsageError):
        place.sessions.change_team(by_key, "press")


# ---------------------------------------------------------------- attacks


def test_a_state_counts_once(place):
    browser = place.browser()
    back = place.to_provider(browser)
    assert browser.get(back).status_code == 200
    browser.cookies.delete("avsafe_session")
    answer = browser.get(back)
    assert answer.status_code == 400
    assert "was used already" in answer.text
    assert not is_in(browser)


def test_the_answer_to_one_browser_is_worth_nothing_in_another(place):
    mine, theirs = place.browser(), place.browser()
    place.to_provider(theirs)  # has a login under way, and so a cookie, of its own
    back = place.to_provider(mine)
    for other in (theirs, place.browser()):
        assert other.get(back).status_code == 400
        assert not is_in(other)
    assert mine.get(back).status_code == 200  # and nobody else could spend it


def test_a_code_of_somebody_else_is_not_taken_with_ones_own_state(place):
    victim, thief = place.browser(), place.browser()
    code = parse_qs(urlsplit(place.to_provider(victim)).query)["code"][0]
    own = {k: v[0] for k, v in parse_qs(urlsplit(place.to_provider(thief)).query).items()}
    answer = thief.get("/auth/callback", params=own | {"code": code})
    assert answer.status_code == 502  # PKCE: the verifier is another's
    assert not is_in(thief)


@pytest.mark.parametrize("wrong", [
    {}, {"state": ""}, {"state": "x", "code": "y"}, {"state": ["a", "b"], "code": "c"},
    {"state": "\x00", "code": "c"}, {"state": "x" * 9000}, {"code": "c"},
    {"error": "<script>alert(1)</script>", "state": "x"},
])  # fmt: skip
def test_an_answer_that_belongs_to_nothing(place, wrong):
    browser = place.browser()
    place.to_provider(browser)
    answer = browser.get("/auth/callback", params=wrong)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert "avsafe_session" not in answer.headers.get("set-cookie", "")


def test_a_refusal_is_told_in_our_words(place):
    browser = place.browser()
    given = parse_qs(urlsplit(place.to_provider(browser)).query)
    answer = browser.get("/auth/callback", params={
        "state": given["state"][0], "iss": given["iss"][0], "error": "access_denied",
        "error_description": "<b>call this number</b>",
    })  # fmt: skip
    assert answer.status_code == 403
    assert "this number" not in answer.text


def test_an_answer_in_the_name_of_another_issuer(place, provider):
    for iss in (["https://evil.example"], [], [provider.issuer, "https://evil.example"]):
        browser = place.browser()
        given = parse_qs(urlsplit(place.to_provider(browser)).query)
        answer = browser.get("/auth/callback", params=given | {"iss": iss})
        assert answer.status_code == 400, iss
        assert not is_in(browser)


def test_a_provider_that_speaks_for_another_issuer_or_on_an_open_line(place, provider):
    for wrong in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
    ):
        provider.metadata = wrong
        fresh = create_app(place.settings)
        answer = place.browser(fresh).get("/auth/login")
        assert answer.status_code == 502, wrong


STRANGER = ECKey.generate_key("P-256", {"kid": "k1"})


def _part(value):
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bare(header, claims, sign):
    text = f"{_part(json.dumps(header).encode())}.{_part(json.dumps(claims).encode())}"
    return f"{text}.{_part(sign(text.encode()))}"


def _none(provider, claims):
    return _bare({"alg": "none", "kid": provider.kid}, claims, lambda text: b"")


def _by_public_key(provider, claims):
    """HS256 with the published key as its secret."""
    secret = provider.keys[provider.kid].as_pem(private=False)
    header = {"alg": "HS256", "kid": provider.kid}
    return _bare(header, claims, lambda text: hmac.digest(secret, text, "sha256"))


def _own_key_in_header(provider, claims):
    header = {"alg": "ES256", "kid": "mine", "jwk": STRANGER.as_dict(private=False)}
    return jwt.encode(header, claims, STRANGER)


TOKENS = {
    "another nonce": lambda p, c: p.signed(c | {"nonce": "other"}),
    "no nonce": lambda p, c: p.signed({k: v for k, v in c.items() if k != "nonce"}),
    "another audience": lambda p, c: p.signed(c | {"aud": "other"}),
    "no audience": lambda p, c: p.signed({k: v for k, v in c.items() if k != "aud"}),
    "many audiences, for another": lambda p, c: p.signed(c | {"aud": [CLIENT, "o"], "azp": "o"}),
    "many audiences, for nobody": lambda p, c: p.signed(c | {"aud": [CLIENT, "o"]}),
    "another issuer": lambda p, c: p.signed(c | {"iss": "https://evil.example"}),
    "expired": lambda p, c: p.signed(c | {"exp": c["iat"] - 120, "iat": c["iat"] - 600}),
    "no end": lambda p, c: p.signed({k: v for k, v in c.items() if k != "exp"}),
    "an end that is none": lambda p, c: p.signed(c | {"exp": "tomorrow"}),
    "of the future": lambda p, c: p.signed(c | {"iat": c["iat"] + 3600}),
    "no subject": lambda p, c: p.signed({k: v for k, v in c.items() if k != "sub"}),
    "an empty subject": lambda p, c: p.signed(c | {"sub": ""}),
    "a subject that is none": lambda p, c: p.signed(c | {"sub": ["subject-1"]}),
    "a long subject": lambda p, c: p.signed(c | {"sub": "x" * 256}),
    "a subject with a NUL": lambda p, c: p.signed(c | {"sub": "a\x00b"}),
    "another access token": lambda p, c: p.signed(c | {"at_hash": "AAAA"}),
    "no algorithm": _none,
    "the public key as a secret": _by_public_key,
    "a key of its own": _own_key_in_header,
    "a stranger's key": lambda p, c: jwt.encode({"alg": "ES256", "kid": p.kid}, c, STRANGER),
    "no token": lambda p, c: "x",
    "no text": lambda p, c: 7,
    "cut": lambda p, c: p.signed(c)[:-8],
    "changed": lambda p, c: p.signed(c | {"sub": "x"}).rpartition(".")[0] + "." + p.signed(c)[-86:],
}


@pytest.mark.parametrize("what", TOKENS)
def test_a_token_that_does_not_hold(place, provider, what):
    provider.twist = lambda claims: TOKENS[what](provider, claims)
    browser, answer = place.log_in()
    assert answer.status_code == 400, what
    assert provider.twist is None  # it was given out
    assert not is_in(browser)


ELSEWHERE = (
    "https://evil.example", "//evil.example", "/\\evil.example", "/en/team/../../x", "/en/",
    "javascript:alert(1)", "/en/team/\r\nSet-Cookie: a=b", "/en/team/?a=https://evil.example",
    "/en/team//evil.example", "/EN/team/", "/en/team/login?next=//x", "/en/team/%2e%2e", "x" * 9000,
)  # fmt: skip


def test_nobody_is_sent_elsewhere_after_a_login(place):
    assert {safe_path(target) for target in ELSEWHERE} == {"/en/team/"}
    key = place.people.add("nex", "lab", "creator")
    for target in ELSEWHERE[1:9:4]:
        _, answer = place.log_in(after=target)
        assert 'content="0; url=/en/team/"' in answer.text
        assert "evil" not in answer.text
        fields = {"key": (None, key), "next": (None, target)}
        answer = place.browser().post("/en/team/login", files=fields)
        assert answer.headers["location"] == "/en/team/"


def test_a_session_that_was_planted_is_not_the_one_that_logs_in(place):
    browser = place.browser()
    planted = place.sessions.log_in(place.people.add("mal", "lab", "creator"))
    browser.cookies.set("avsafe_session", planted, domain="127.0.0.1")
    back = place.to_provider(browser)
    answer = browser.get(back)
    given = answer.headers["set-cookie"]
    assert planted not in given
    with pytest.raises(NotAuthenticated):
        place.sessions.of(planted)


def test_an_answer_is_spent_once_in_the_same_instant(database_at):
    with Database.open(database_at) as database:
        identities = Identities(database)
        found, ready = [], threading.Barrier(4)
        state, _ = identities.begin("browser", "/en/team/")

        def take():
            ready.wait()
            try:
                found.append(identities.take(state, "browser"))
            except Stale:
                found.append(None)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(one is not None for one in found) == [False, False, False, True]
        with database.reading() as connection:
            assert connection.execute(select(func.count()).select_from(logins)).scalar() == 0


def test_so_many_logins_are_under_way_and_the_oldest_give_way(database_at, monkeypatch):
    from avsafe.server import identities as module

    monkeypatch.setattr(module, "_MOST_LOGINS", 3)
    with Database.open(database_at) as database:
        identities = Identities(database)
        states = [identities.begin("browser", "/en/team/")[0] for _ in range(6)]
        with database.reading() as connection:
            assert connection.execute(select(func.count()).select_from(logins)).scalar() == 4
        with pytest.raises(Stale):
            identities.take(states[0], "browser")
        assert identities.take(states[-1], "browser").path == "/en/team/"


def test_of_logins_only_hashes_are_kept(place):
    browser = place.browser()
    state = parse_qs(urlsplit(place.to_provider(browser)).query)["state"][0]
    with place.database.reading() as connection:
        kept = repr(connection.execute(select(logins)).all())
    assert state not in kept
    assert browser.cookies["avsafe_login"] not in kept


# ---------------------------------------------------------------- the way out


def test_a_logout_leads_to_the_providers(place, provider):
    browser, _ = place.log_in()
    token = browser.cookies["avsafe_session"]
    csrf = place.sessions.of(token).csrf
    answer = browser.post("/it/team/logout", files={"csrf": (None, csrf)})
    assert answer.headers["location"] == "/auth/out?next=/it/team/"
    assert f"{provider.issuer}/logout" in browser.get(answer.headers["location"]).text
    with pytest.raises(NotAuthenticated):
        place.sessions.of(token)


def test_the_provider_ends_a_session(place, provider):
    event = {"http://schemas.openid.net/event/backchannel-logout": {}}
    browser, _ = place.log_in()
    good = provider.claims(sub="subject-1", events=event, jti="1")
    for wrong in (
        provider.signed({k: v for k, v in good.items() if k != "events"}),
        provider.signed(good | {"nonce": "n"}),  # an ID token is no logout token
        provider.signed(good | {"aud": "other"}),
        provider.signed(good | {"iat": good["iat"] - 3600}),
        provider.signed({k: v for k, v in good.items() if k != "sub"}),
        jwt.encode({"alg": "ES256", "kid": provider.kid}, good, STRANGER),
        _none(provider, good), "x", "",
    ):  # fmt: skip
        answer = browser.post("/auth/backchannel", data={"logout_token": wrong})
        assert answer.status_code == 400
    assert browser.post("/auth/backchannel", content=b"x" * (1 << 20)).status_code == 400
    assert is_in(browser)
    done = browser.post("/auth/backchannel", data={"logout_token": provider.signed(good)})
    assert done.status_code == 200
    assert not is_in(browser)


def test_strangers_in_one_instant_are_one_question_to_the_provider(place, provider, monkeypatch):
    asked, fetch = [], oidc.Provider._fetch

    async def counted(self, address):
        asked.append(address)
        return await fetch(self, address)

    async def many():
        one = oidc.Provider(place.settings)
        return await asyncio.gather(*map(one.ended, [token] * 20), return_exceptions=True)

    monkeypatch.setattr(oidc.Provider, "_fetch", counted)
    token = jwt.encode({"alg": "ES256", "kid": "unknown"}, provider.claims(), STRANGER)
    assert {type(one) for one in asyncio.run(many())} == {oidc.NotVerified}
    assert len(asked) == 2  # what it is, and its keys


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("wrong", [
    {"oidc_issuer": "http://login.example.org"}, {"oidc_client_id": ""}, {"address": ""},
    {"address": "http://avsafe.example"}, {"address": "https://a.example/path"},
    {"address": "https://user@a.example"}, {"oidc_minutes": 0}, {"oidc_days": -1},
])  # fmt: skip
def test_settings_that_would_not_be_safe(place, wrong):
    with pytest.raises(UsageError):
        replace(place.settings, **wrong)


@pytest.mark.parametrize("text", [
    "groups = 3", '[groups]\n"/x" = ["lab"]', '[groups]\n"/x" = ["lab:god"]', "[groups",
    '[groups]\n"/x" = [3]', '[groups]\n"/x" = [":owner"]',
])  # fmt: skip
def test_a_file_of_groups_that_is_none_is_told(tmp_path, text):
    path = tmp_path / "oidc-teams.toml"
    path.write_text(text)
    with pytest.raises(UsageError):
        oidc.roles_by_group(path)


def test_a_file_that_breaks_while_it_runs_lets_nobody_in(place):
    path = place.home.root / oidc.TEAMS
    path.write_text("[groups")
    try:
        browser, answer = place.log_in()
        assert (answer.status_code, is_in(browser)) == (502, False)
    finally:
        path.write_text(TEAMS)


@pytest.mark.parametrize("what", ["not there", "no object", "a redirect", "too long"])
def test_what_a_provider_must_not_answer(place, provider, monkeypatch, what):
    """Discovery that is none; the service says so and goes on."""
    answers = {
        "not there": (404, {}), "no object": (200, []), "a redirect": (302, {}),
        "too long": (200, {"x": "y" * (2 << 20)}),
    }  # fmt: skip
    monkeypatch.setattr(provider, "metadata_answer", answers[what], raising=False)
    answer = place.browser(create_app(place.settings)).get("/auth/login")
    assert answer.status_code == 502
    assert "does not answer" in answer.text


def test_a_secret_that_cannot_be_read_stops_the_start(place):
    with pytest.raises(UsageError, match="client secret") as raised:
        create_app(replace(place.settings, oidc_client_secret_file="/nowhere/secret"))
    assert "/nowhere" not in str(raised.value)
