"""Take the pictures of the pages that the documents show: `take_page_screenshots.py [URL [PAGE ...]]`.

Needs a running service, by default on http://127.0.0.1:8080 without keys, and on the machine Chromium and a Japanese
font (`apt-get install chromium fonts-noto-cjk`). Favourites are those of the examples; what the pictures show is what
the service answers. A decision and a promotion that waits for approval are taken where the platform has one; PAGE takes
some pages alone.
"""

import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent / "pages"
URL = "http://127.0.0.1:8080"
LIKED = "f=30&r30=9&f=19&r19=10&f=5114"
PAGES = {
    "home": "/",
    "list": f"/?{LIKED}",
    "title": f"/titles/1?{LIKED}",
    "taste": "/?mode=taste&g=Drama&g=Mystery&w.Drama=5",
    "together": "/?mode=together&person=Monster,Mushishi&person=Naruto,Bleach",
    "did-you-mean": "/?add=Naruto+season+7",
    "operations": "/ops",
    "compare": "/ops/compare?who=Monster",
}
APPROVAL, DECISION = "approval", "decision"
WIDTHS = {1280: 900, 360: 740}
SCHEMES = ("dark", "light")
QUALITY = 72


def take(browser: Browser, url: str, names: Sequence[str], width: int, scheme: str) -> None:
    """Take pages at one width in one scheme."""
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    for name in set(names) & set(PAGES):
        page.goto(url + PAGES[name])
        page.wait_for_load_state("networkidle")
        save(page.screenshot(), f"{name}-{width}-{scheme}")
    page.goto(f"{url}/ops")
    if APPROVAL in names and page.locator("#approvals form").count():
        save(page.locator("#approvals").screenshot(), f"{APPROVAL}-{width}-{scheme}")
    decision = page.locator('a[href^="/ops/decisions/"]').first
    if DECISION in names and decision.count():
        page.goto(url + str(decision.get_attribute("href")))
        page.wait_for_load_state("networkidle")
        save(page.screenshot(), f"{DECISION}-{width}-{scheme}")
    context.close()


def save(png: bytes, name: str) -> None:
    """Keep a picture as WebP."""
    picture = Image.open(io.BytesIO(png))
    picture.convert("RGB").save(HERE / f"{name}.webp", quality=QUALITY, method=6)


def main() -> None:
    """Open a browser and take all pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium; install it, for example with apt-get install chromium")
    url, *names = sys.argv[1:] or [URL]
    HERE.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for width in WIDTHS:
            for scheme in SCHEMES:
                take(browser, url, names or (*PAGES, APPROVAL, DECISION), width, scheme)
        browser.close()
    sys.stdout.write(f"{len(list(HERE.glob('*.webp')))} pictures in {HERE}\n")


if __name__ == "__main__":
    main()
