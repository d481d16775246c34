"""The whole way in a real browser: log in, ask, watch, review, release, download, verify; strip it,
verify again, recovered. Screenshots go to $AVSAFE_SCREENSHOTS, when that names a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from avsafe import media
from avsafe.media import EncodeSpec
from avsafe.server import worker
from tests.browser_kit import Service, is_problem, log_in, shot

PROMPT = "a red metal ball bouncing on grass"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Service(tmp_path_factory.mktemp("browser") / "home")
    yield running
    running.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda m: problems.append(m.text) if is_problem(m) else None)
    yield opened
    context.close()
    assert problems == []


def drop(page, service, path: Path, language: str = "en") -> str:
    page.goto(f"{service.address}/{language}/")
    page.set_input_files("input[type=file]", path)
    page.click("#drop button")
    page.wait_for_selector(".verdict", timeout=120_000)
    return page.inner_text(".verdict h1")


def test_from_a_wish_to_a_verdict(service, page, tmp_path):
    log_in(page, service, service.people.add("ada", "lab", "creator"))
    page.click("text=New")
    page.fill("textarea[name=prompt]", PROMPT)
    page.fill("input[name=size]", "320x240")
    page.fill("input[name=seconds]", "2")
    shot(page, "new")
    page.click("main button:has-text('Ask')")
    page.wait_for_url("**/jobs/**")
    assert page.inner_text(".tag") == "waiting"
    shot(page, "waiting")
    worker.run(service.settings, until_empty=True)
    page.wait_for_selector("video.shown", timeout=60_000)  # the page reloads itself
    assert page.inner_text(".tag") == "released"
    shot(page, "released")
    with page.expect_download() as waiting:
        page.click("a[download]")
    released = tmp_path / "released.mp4"
    waiting.value.save_as(released)

    assert drop(page, service, released) == "Declared as AI-made"
    shot(page, "declared")
    stripped = tmp_path / "stripped.mp4"
    media.encode(media.decode(released), stripped, EncodeSpec(crf=26))
    assert drop(page, service, stripped, "it").startswith("Fatto con l'IA: trovato")
    shot(page, "recovered")
    page.set_viewport_size({"width": 390, "height": 800})
    shot(page, "recovered-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_review_by_somebody_else(service, page, browser):
    account = service.people.identify(service.people.add("bea", "lab", "creator")).account
    asked = {
        "task": "text-to-video", "generator": "world", "prompt": "a loud fight of two cubes",
        "seed": 1, "negative_prompt": "", "purpose": "general", "consent_ids": [],
        "parameters": {}, "width": 256, "height": 256, "duration_s": 1.0, "inputs": [],
    }  # fmt: skip
    made, _ = service.jobs.add(account.id, "lab", "videos", asked)
    job = service.jobs.claim("w")
    service.jobs.end(job, "review", decision={"rules": ["R2-violence"]},
                     error={"code": "R2-violence", "message": "Violence: look first."})  # fmt: skip
    log_in(page, service, service.people.add("rita", "lab", "reviewer"))
    page.click("text=Reviews")
    assert "a loud fight of two cubes" in page.inner_text("main")
    shot(page, "review")
    page.fill("input[name=reason]", "two cubes")
    page.click("button[value=approve]")
    page.wait_for_selector("text=Nothing waits.")
    worker.run(service.settings, until_empty=True)
    assert service.jobs.get(made.id).state == "released"


def test_a_form_of_another_session_does_nothing(service, page):
    log_in(page, service, service.people.add("cy", "lab", "creator"))
    page.goto(f"{service.address}/en/team/consent")
    page.evaluate("document.querySelectorAll('input[name=csrf]').forEach(i => i.value = 'x')")
    page.click("button:has-text('Log out')")
    page.wait_for_selector(".alert")
    page.goto(f"{service.address}/en/team/")
    assert "Team lab" in page.inner_text("h1")  # still logged in


def test_a_consent_is_recorded_withdrawn_and_stops_what_waits(service, page, tmp_path):
    from PIL import Image

    portrait = tmp_path / "face.png"
    Image.new("RGB", (64, 64), "tan").save(portrait)
    log_in(page, service, service.people.add("dan", "lab", "creator"))
    page.click("text=Consent")
    page.fill("input[name=subject]", "speaker-7")
    page.set_input_files("input[name=files]", portrait)
    page.check("input[name=adult]")
    page.click("button:has-text('Record')")
    page.wait_for_selector("text=speaker-7")
    shot(page, "consent")
    record = page.inner_text("p.code")
    account = service.people.list()[0]
    waiting, _ = service.jobs.add(account.id, "lab", "videos", {"consent_ids": [record]})
    page.click("summary:has-text('Withdraw')")
    page.click("button:has-text('Withdraw')")
    page.wait_for_selector("text=withdrawn")
    ended = service.jobs.get(waiting.id)
    assert (ended.state, ended.error["code"]) == ("denied", "consent_revoked")


def test_the_policy_before_and_after_an_edit(service, page):
    log_in(page, service, service.people.add("eli", "lab", "creator"))
    page.click("text=Policy")
    page.fill(
        "textarea[name=cases]",
        '{"task": "text-to-video", "prompt": "a ball", "roles": ["creator"]}',
    )
    page.click("main button:has-text('Try')")
    page.wait_for_selector("tbody")
    assert "the same" in page.inner_text("tbody")
    text = page.input_value("textarea[name=base]")
    page.fill("textarea[name=base]", text.replace('Role::"creator"', 'Role::"painter"'))
    page.click("main button:has-text('Try')")
    page.wait_for_selector("tr.changed")
    shot(page, "policy")
    assert "denied" in page.inner_text("tr.changed")
    page.fill("textarea[name=base]", "permit (principal")
    page.click("main button:has-text('Try')")
    page.wait_for_selector(".alert")


def test_what_a_file_says_of_itself_is_text(service, page, tmp_path):
    """A browser runs no script out of a name, a signer or a program, and fetches nothing for it."""
    from avsafe.provenance import keys, sign
    from tests.provenance_kit import make_manifest, make_media

    image, script = "<img src=/x onerror=hacked=1>", "<script>hacked=1</script>"
    owner = keys.init(tmp_path / "keys", organization=image).folder
    path = tmp_path / f"{image.replace('/', '')}.png"
    manifest = make_manifest(mime="image/png", generator=script, generator_version="<svg onload=x>")
    sign.sign_file(make_media(tmp_path / "a.png"), path, manifest, keys.load_signer(owner))
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    assert drop(page, service, path) == "Declared as AI-made"
    assert page.evaluate("document.activeElement.id") == "verdict"  # where a reader goes on
    for closed in page.locator("summary").all():
        closed.click()
    shown = page.inner_text("main")
    assert image in shown
    assert script in shown
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("main script, main img, main svg").count() == 0
    assert not any(url.endswith("/x") for url in asked)
    shot(page, "hostile-names")


def test_an_address_is_asked_for_where_it_may_be(browser, tmp_path):
    """The page's second form; an address that leads inside is refused in words."""
    running = Service(tmp_path / "home", fetch=True)
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(f"{running.address}/it/")
    page.fill("input[name=url]", f"{running.address}/healthz")
    page.click("#fetch button")
    page.wait_for_selector("[role=alert]")
    assert page.inner_text("[role=alert]").startswith("Non è l'indirizzo")  # another port than 443
    page.fill("input[name=url]", "http://127.0.0.1/x.png")
    page.click("#fetch button")
    page.wait_for_selector("[role=alert]:has-text('Da quell')")
    shot(page, "address-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
    running.close()


def test_without_scripts_the_page_works_as_well(service, browser, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    note = tmp_path / "x.png"
    note.write_bytes(b"no picture")
    page.goto(f"{service.address}/en/")
    page.set_input_files("input[type=file]", note)
    page.click("#drop button")
    page.wait_for_selector(".verdict")
    assert page.inner_text(".verdict h1") == "The file cannot be read"
    assert page.locator(".step:visible").count() == 0
    context.close()
