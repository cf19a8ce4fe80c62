"""Take the pictures of Airflow that the documents show: `python docs/images/take_screenshots.py`, with the platform up.

Needs Chromium on the machine (`apt-get install chromium`) and runs of `retrain_model`, for example those of
`otaku demo --airflow --keep`. The browser is steered through its DevTools protocol; nothing is installed.
"""

import base64
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from otaku.platform import airflow
from otaku.platform.airflow_client import AirflowClient
from otaku.platform.local import PARTS, LocalPlatform
from recsys.settings import load_settings

HERE = Path(__file__).parent
DAG = "retrain_model"
WIDTH, HEIGHT = 1500, 800
SECONDS_TO_LOAD, SECONDS_TO_DRAW = 120.0, 6.0
# The panel at the left shows what the local storage says.
VIEWS = {"grid": "airflow-retrain-grid.png", "graph": "airflow-retrain-graph.png"}


class Browser:
    """One page of a Chromium without a window."""

    def __init__(self, page: ClientConnection) -> None:
        self._page = page
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Open a page, wait until it names the last task, and give it time to draw."""
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + SECONDS_TO_LOAD
        while "promote" not in str(self.run("document.body.innerText")):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{url} shows no tasks: {self.run('document.body.innerText')!r}")
            time.sleep(0.5)
        time.sleep(SECONDS_TO_DRAW)

    def run(self, script: str) -> Any:
        """Run JavaScript in the page."""
        return self.call("Runtime.evaluate", expression=script)["result"].get("value")

    def save(self, path: Path) -> None:
        """Save what the page shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def find_page(folder: Path) -> str:
    """Wait until the browser listens and return the address of its page."""
    deadline = time.monotonic() + 60
    while not (port_file := folder / "DevToolsActivePort").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("Chromium did not start")
        time.sleep(0.2)
    port = port_file.read_text().splitlines()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = [page for page in json.load(answer) if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


def take(browser: Browser, url: str, token: str, run_id: str) -> None:
    """Take all pictures of the DAG."""
    browser.call("Page.enable")
    browser.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
    browser.call("Network.setCookie", name="_token", value=token, url=url)
    for view, name in VIEWS.items():
        browser.open(f"{url}/dags/{DAG}")
        browser.run(f"localStorage.setItem('default_dag_view', JSON.stringify('{view}'))")
        browser.open(f"{url}/dags/{DAG}/runs/{run_id}" if view == "graph" else f"{url}/dags/{DAG}")
        browser.save(HERE / name)
        sys.stdout.write(f"{HERE / name}\n")


def main() -> None:
    """Log in to the local Airflow, open a browser, take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium; install it, for example with apt-get install chromium")
    platform = LocalPlatform(load_settings(), parts=(*PARTS, airflow.PART))
    url, password = str(platform.settings().airflow_url).rstrip("/"), airflow.read_password(platform.home)
    login = {"username": airflow.USER, "password": password}
    token = httpx.post(f"{url}/auth/token", json=login, timeout=30).json()["access_token"]
    with AirflowClient(url, airflow.USER, password) as client:
        run_id = client.list_runs(DAG)[-1]["dag_run_id"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
        command = [chromium, *options, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        try:
            with connect(find_page(Path(folder)), max_size=None) as page:
                take(Browser(page), url, token, run_id)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
