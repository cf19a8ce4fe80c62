"""Figures of all instances, from a real Prometheus that scrapes a real service."""

import asyncio
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import HttpUrl

from app.pages.ops.figures import ServiceFigures, read_figures
from app.pages.ops.prometheus import Prometheus
from recsys.settings import Settings
from tests.app.harness import FolderSource, wait_for
from tests.app.pages.conftest import build_page_settings, run_site

pytestmark = pytest.mark.local
LISTENING = re.compile(r'Listening on"? address=(127\.0\.0\.1:\d+)')


@contextmanager
def run_prometheus(folder: Path, target: str, key: str) -> Iterator[str]:
    """Scrape a service every second with a key, until the block ends."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("Prometheus is not installed (Debian: apt-get install prometheus)")
    job = {
        "job_name": "otaku",
        "scrape_interval": "1s",
        "authorization": {"credentials": key},
        "static_configs": [{"targets": [target]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_for(lambda: "Server is ready" in log.read_text() and LISTENING.search(log.read_text()) is not None)
        yield f"http://{LISTENING.findall(log.read_text())[0]}"
    finally:
        process.terminate()
        process.wait(30)


def test_all_figures_are_those_of_the_instances(tmp_path: Path, model_folders: dict[int, Path]) -> None:
    settings = build_page_settings(tmp_path / "home", "postgresql://nobody@127.0.0.1:1/nothing", api_keys="boss-key")
    with (
        run_site(settings, FolderSource(dict(model_folders))) as site,
        run_prometheus(tmp_path, site.url.removeprefix("http://"), "boss-key") as url,
    ):
        prometheus = Prometheus.build(settings.model_copy(update={"prometheus_url": HttpUrl(url)}))

        def count() -> int:
            found = read(prometheus)
            assert found is not None
            return found.n_recommendations

        # `increase` needs two samples of a series: the first requests make it, the others raise it.
        ask(site.url, 1)
        wait_for(lambda: _query(url, 'otaku_requests_total{kind!=""}') > 0)
        ask(site.url, 20)
        wait_for(lambda: count() >= 20)
        found = read(prometheus)
        process = read_figures(site.app.state.service.metrics.registry)

    assert found is not None
    assert found.n_errors == process.n_errors == 0
    assert found.p50 is not None
    assert process.p50 is not None
    assert 0 < found.p50 <= (found.p95 or 0) <= (found.p99 or 0)
    assert found.fallback_share == process.fallback_share == 0


def read(prometheus: Prometheus) -> ServiceFigures | None:
    """Read in a thread of its own: a browser that other tests drive runs an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(prometheus.read_figures())).result()


def ask(url: str, n: int) -> None:
    for number in range(n):
        body = json.dumps({"liked": ["Monster"], "k": 1 + number}).encode()
        headers = {"Content-Type": "application/json", "X-API-Key": "boss-key"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/recommend/", body, headers), timeout=30) as response:
            assert response.status == 200


def _query(url: str, query: str) -> float:
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': f'sum({query})'})}"
    with urllib.request.urlopen(address, timeout=5) as response:
        rows = json.load(response)["data"]["result"]
    return float(rows[0]["value"][1]) if rows else 0.0


@pytest.mark.parametrize("url", [None, HttpUrl("http://127.0.0.1:1")])
def test_without_prometheus_there_are_no_figures_of_it(offline_settings: Settings, url: HttpUrl | None) -> None:
    settings = offline_settings.model_copy(update={"prometheus_url": url})
    assert read(Prometheus.build(settings)) is None
