"""`/docs` and `/redoc` load nothing from elsewhere, and every answer tells browsers to be careful, errors too."""

import gzip
import hashlib
import re
import shutil
from collections import Counter
from importlib import resources
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from app.guard.connections import _build_response
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient
from tests.app.pages.conftest import run_site

DIGESTS = {
    "redoc.standalone.js.gz": "1d4017257a6c051270bfbd9935cab12c100f5f50f65b6931e72f6155ece0698c",
    "swagger-ui-bundle.js.gz": "942e6424651db3a09f5a820c2bf585474ce8546335017a2b4384119b59e2309c",
    "swagger-ui.css.gz": "e41035a14ea8be1734f96d0585cd72f6f9c1e9c081a904c67f4eacce0e46200c",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_what_is_vendored_is_what_was_released(name: str) -> None:
    content = (resources.files("app.api.documentation") / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DIGESTS[name]
    assert len(gzip.decompress(content)) > 100_000


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_names_no_other_host_and_its_policy_allows_none(client: TestClient, path: str) -> None:
    page = client.get(path)

    assert page.status_code == 200
    assert "http" not in page.text.replace('http-equiv="', "")
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert linked
    for name in linked:
        found = client.get(name)
        assert found.status_code == 200
        assert len(found.content) > 100  # decompressed by the client
    assert client.get("/docs/nothing.js").status_code == 404
    assert client.get("/docs/..%2f__init__.py").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(("path", "shown"), [("/docs", "#swagger-ui .opblock"), ("/redoc", "h1")])
def test_in_a_real_browser_without_a_network(
    offline_settings: Settings, source: FolderSource, path: str, shown: str
) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    elsewhere: Counter[str] = Counter()
    refused: list[str] = []
    # Of its own, since a browser that stays open keeps an event loop running for all other tests.
    with run_site(offline_settings, source) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        # Redoc asks for its logo, which the policy refuses.
        page.on("response", lambda response: elsewhere.update([urlsplit(response.url).netloc]))
        page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
        page.goto(site.url + path)
        try:
            expect(page.locator(shown).first).to_be_visible(timeout=60_000)
        finally:
            browser.close()
            own = {"", urlsplit(site.url).netloc}

    assert set(elsewhere) - own == set()
    assert [text for text in refused if "script" in text] == []


@pytest.mark.parametrize("status", [400, 408, 413, 414, 429, 431, 503])
def test_what_is_refused_before_the_application_carries_the_headers_too(status: int) -> None:
    head, _, body = _build_response(status, "why").partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert int(headers["content-length"]) == len(body)


def test_every_error_carries_the_headers(client: TestClient) -> None:
    answers = [
        client.get("/nowhere"),
        client.put("/model"),
        client.post("/recommend/", content=b"{"),
        client.post("/recommend/", content=b" " * (2 << 20)),
        client.get("/model", headers={"Host": "evil.example"}),
        client.get("/users/7"),
        client.get("/titles/999999999"),
    ]
    assert [answer.status_code for answer in answers] == [404, 405, 422, 413, 421, 503, 404]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
