"""Every page in a real browser: wide and narrow, light and dark, in both languages. What a person
needs of each: it fits, it has one title, each control has a name, text stands out from what is
behind it, and the keyboard shows where it is. And the way in through an OpenID provider."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from avsafe.server import files, oidc, published
from tests.browser_kit import Service, is_problem, log_in, shot
from tests.oidc_kit import CLIENT, SECRET, Provider

PAGES = ("", "jobs", "new", "reviews", "consent", "policy", "ledger", "reports", "keys")
LOOKS = [("en", 390, "light"), ("it", 1280, "dark")]
if os.environ.get("AVSAFE_SCREENSHOTS"):  # for those who look at all of them
    LOOKS += [("en", 1280, "light"), ("it", 390, "dark")]

# What is wrong with a page; [] when nothing is. Contrast after WCAG 2.2, 1.4.3.
CHECK = """() => {
  const wrong = [];
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (document.documentElement.scrollWidth > innerWidth)
    wrong.push("wider than the window: " + document.documentElement.scrollWidth);
  const named = "input:not([type=hidden]), select, textarea, button, a, img, meter, progress";
  for (const one of document.querySelectorAll(named)) {
    if (!one.checkVisibility()) continue;
    const name = one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") ||
      (one.labels && one.labels.length && one.labels[0].innerText.trim()) ||
      (one.tagName === "IMG" ? one.hasAttribute("alt") : one.innerText && one.innerText.trim());
    if (!name) wrong.push("no name: " + one.outerHTML.slice(0, 120));
  }
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parts = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (rgb) => {
    const [r, g, b] = [...rgb].slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return parts("#fff");
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !one.checkVisibility()) continue;
    const style = getComputedStyle(one);
    const [a, b] = [light(parts(style.color)), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5))
      wrong.push("contrast " + ratio.toFixed(2) + ": " + walk.currentNode.data.trim().slice(0, 60));
  }
  return wrong;
}"""
# Where the keyboard is, and whether that can be seen.
FOCUS = """() => {
  const one = document.activeElement, style = getComputedStyle(one);
  return [one.tagName, style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Service(tmp_path_factory.mktemp("pages") / "home", operator="Example Lab")
    account = running.people.identify(running.people.add("bea", "lab", "creator")).account

    def add(prompt, state, output="", **values):
        request = {"task": "text-to-video", "generator": "world", "prompt": prompt, "inputs": []}
        job, _ = running.jobs.add(account.id, "lab", "videos", request)
        claimed = running.jobs.claim("w")
        if state == "running":
            running.jobs.beat(claimed, progress=40, stage="rendering")
            return
        kept = {"output": output} if output else {}
        running.jobs.end(claimed, state, **kept, **values)
        if output:
            path = files.folder_of(running.settings, job.id) / output
            path.parent.mkdir(parents=True)
            Image.new("RGB", (640, 360), "steelblue").save(path, "PNG")

    add("a harbour at dawn, seen from a boat that comes slowly nearer", "released", "out-1.png")
    add("a voice that reads the news", "released", "out-1.wav")
    add("a" * 300, "denied", error={"code": "F12", "message": "The policy denies it."})
    add("a loud fight of two cubes", "review", decision={"rules": ["R2-violence"]},
        error={"code": "R2-violence", "message": "Violence: look first."})  # fmt: skip
    add("a cube", "running")
    folder = running.settings.home.root / published.FOLDER
    folder.mkdir()
    (folder / "marks.html").write_text(
        "<title>How far the marks hold</title><h1>Marks</h1><style>h1 {color: rgb(1, 2, 3)}</style>"
        "<script>document.title = 'a script ran'</script>"
    )
    yield running
    running.close()


@pytest.fixture
def opened(browser):
    """Opens a page of a width and a scheme; no script and no style of ours is ever blocked."""
    contexts, problems = [], []

    def new(width=1280, scheme="light", **more):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, **more
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if is_problem(m) else None)
        return page

    new.problems = problems
    yield new
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("language", "width", "scheme"), LOOKS)
def test_every_page_fits_and_can_be_read(service, opened, language, width, scheme):
    page, wrong, titles = opened(width, scheme), {}, []
    look = f"{language}-{width}-{scheme}"

    def check(name):
        page.wait_for_load_state("load")
        if found := page.evaluate(CHECK):
            wrong[name] = found
        titles.append(page.title())
        shot(page, f"page-{name}-{look}")

    page.goto(f"{service.address}/{language}/")
    check("verify")
    page.goto(f"{service.address}/{language}/team/")
    check("login")
    log_in(page, service, service.people.add("ada", "lab", "owner"), language)
    for path in PAGES:
        page.goto(f"{service.address}/{language}/team/{path}")
        check(path or "overview")
    page.goto(f"{service.address}/{language}/team/jobs?state=denied")
    page.click("tbody a")
    check("denied")
    page.goto(f"{service.address}/{language}/team/jobs/none")
    check("gone")
    page.goto(f"{service.address}/{language}/team/keys")
    page.click("main form:last-of-type button:not(.plain)")
    page.wait_for_selector(".secret")
    check("key-made")
    assert wrong == {}
    assert len(set(titles)) >= len(titles) - 1  # of two pages about keys
    assert opened.problems == []


def test_pages_with_nothing_on_them(service, opened):
    page, language = opened(390), "it"
    log_in(page, service, service.people.add("eva", "empty", "owner"), language)
    for path in PAGES:
        page.goto(f"{service.address}/{language}/team/{path}")
        assert page.evaluate(CHECK) == [], path
        shot(page, f"empty-{path or 'overview'}-{language}-390")


def test_the_keyboard_shows_where_it_is(service, opened):
    page = opened()
    log_in(page, service, service.people.add("key", "lab", "owner"))
    page.goto(f"{service.address}/en/team/new")
    seen = set()
    for _ in range(24):
        page.keyboard.press("Tab")
        tag, shown = page.evaluate(FOCUS)
        assert shown or tag == "BODY", tag
        seen.add(tag)
    assert {"A", "BUTTON", "SELECT", "TEXTAREA", "SUMMARY"} <= seen


def test_the_same_page_in_the_other_language(service, opened):
    page = opened()
    log_in(page, service, service.people.add("lia", "lab", "owner"))
    page.goto(f"{service.address}/en/team/keys")
    page.click("text=Italiano")
    assert page.url.endswith("/it/team/keys")
    assert page.inner_text("h1") == "Le tue chiavi"


def test_no_script_of_a_report_runs(service, opened):
    page = opened()
    log_in(page, service, service.people.add("rep", "lab", "auditor"))
    page.goto(f"{service.address}/en/team/reports/marks")
    assert page.title() == "How far the marks hold"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
    assert page.evaluate("window.origin") == "null"


def test_the_way_in_through_a_provider(tmp_path, opened):
    """The provider is another site (127.0.0.1 beside localhost), so cookies are put to the test."""
    provider = Provider()
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text(SECRET)
    (home / "people").mkdir()
    (home / oidc.TEAMS).write_text('[groups]\n"/creators" = ["lab:creator", "press:reviewer"]\n')
    service = Service(
        home, host="localhost", oidc_issuer=provider.issuer, oidc_client_id=CLIENT,
        oidc_client_secret_file=str(home / "secret"), oidc_label="Newsroom",
    )  # fmt: skip
    provider.redirect_uri = f"{service.address}/auth/callback"
    try:
        page = opened(java_script_enabled=False)
        page.goto(f"{service.address}/it/team/consent")
        shot(page, "provider-login")
        page.click("text=Accedi con Newsroom")
        page.wait_for_url("**/it/team/consent")
        assert "ada@127.0.0.1" in page.inner_text(".who")
        page.select_option(".who select", "press")
        page.click(".who button:has-text('Cambia')")
        page.wait_for_url("**/it/team/")
        assert "press" in page.inner_text("h1")
        shot(page, "provider-team")
        page.click("button:has-text('Esci')")
        page.wait_for_selector("text=Esci dal fornitore")
        shot(page, "provider-out")
        page.goto(f"{service.address}/it/team/")
        assert page.url.endswith("/login?next=%2Fit%2Fteam%2F")
        provider.who["groups"] = []
        page.click("text=Accedi con Newsroom")
        page.wait_for_selector(".alert")
        shot(page, "provider-nobody")
    finally:
        service.close()
        provider.close()
