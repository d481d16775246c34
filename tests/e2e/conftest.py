"""One browser for the tests of a module: the event loop that drives it must not outlive them, or
what calls asyncio.run later in the same process fails."""

from __future__ import annotations

import pytest

from tests.browser_kit import CHROMIUM, NO_BROWSER


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip(NO_BROWSER)
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()
