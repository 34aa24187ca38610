"""Fixtures of the page's tests, and the browser that drives it."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from serving import encoded, number_plate, page, page_checkpoints

__all__ = ["encoded", "number_plate", "page", "page_checkpoints"]

_HERE = Path(__file__).parent
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A camera that shows a moving pattern, and is allowed to.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
_PATIENCE = 60_000  # both cores may be busy with other tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a browser does takes seconds."""
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium: install it from your system's packages")
    sync_api.expect.set_options(timeout=_PATIENCE)
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, page):
    """Opens the page; afterwards nothing may have gone wrong, nor have been asked elsewhere."""
    contexts, hosts, errors = [], set(), []

    def note(request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob"):
            hosts.add(address.hostname)

    def open_page(url=page.url, **options):
        context = browser.new_context(reduced_motion="reduce", **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(_PATIENCE)
        tab.on("request", note)
        tab.on("pageerror", lambda error: errors.append(error))
        tab.goto(url)
        tab.locator(".mw-thumbs button").first.wait_for()
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert hosts == {"127.0.0.1"}
    assert errors == []
