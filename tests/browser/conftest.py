"""A real server with a champion and a challenger, and headless Chromium that may reach nothing else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright

from tests.serve.conftest import bundle_folder, challenger_folder, checkpoints
from tests.serve.serving import serving

__all__ = ["bundle_folder", "challenger_folder", "checkpoints"]

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
LOCAL = ("127.0.0.1", "localhost")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


class Visit:
    """A page, what it asked other hosts for, and a place for pictures of it."""

    def __init__(self, page: Page, pictures: Path, name: str) -> None:
        self.page, self.pictures, self.name = page, pictures, name
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.route("**/*", self._only_here)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _only_here(self, route: Route, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("data", "blob") or address.hostname in LOCAL:
            route.continue_()
        else:
            self.elsewhere.append(request.url)
            route.abort()

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def picture(self, what: str) -> None:
        self.page.screenshot(path=self.pictures / f"{self.name}-{what}.png", full_page=True)

    def sideways_px(self) -> int:
        """How far the page can be scrolled sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: as long as Playwright runs, no test in this process can start an event loop."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(bundle_folder: Path, challenger_folder: Path) -> Iterator[str]:
    """Where the demo is."""
    with serving(bundle_folder, "--challenger", str(challenger_folder), demo=True) as server:
        yield server.url


@pytest.fixture
def visit(browser: Browser, address: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the demo; afterwards no page has asked another host for anything, or failed in a script."""
    pictures = Path(os.environ.get("SERMODELS_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    contexts, visits = [], []

    def opened(*, size: str = "desktop", theme: str = "light") -> Visit:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            device_scale_factor=2 if size == "phone" else 1,
            permissions=["microphone"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        visits.append(Visit(page, pictures, f"{size}-{theme}"))
        page.goto(address)
        page.locator("#classify-button").wait_for()
        return visits[-1]

    yield opened
    for one in visits:
        assert one.elsewhere == []
        assert one.errors == []
    for context in contexts:
        context.close()
