"""Take the pictures of Airflow that the documents show: `take_airflow_screenshots.py [PICTURE ...]`, platform up.

Needs Chromium on the machine (`apt-get install chromium`) and a run of `retrain_model`; the picture of an approval is
taken where one waits (`otaku airflow dags trigger retrain_model --conf '{"approval": "always"}'`). PICTURE takes some
alone.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from otaku.platform import airflow
from otaku.platform.airflow_client import AirflowClient
from otaku.platform.local import PARTS, LocalPlatform
from recsys.settings import load_settings

HERE = Path(__file__).parent
DAG, APPROVAL = "retrain_model", "approve"
WIDTH, HEIGHT = 1500, 860
# The form below the evidence has to be seen.
HEIGHTS = {"airflow-approval": 1400}
LOADING = 120_000
DRAWING = 5_000


def list_views(client: AirflowClient) -> dict[str, tuple[str, str, str]]:
    """List what there is to be seen: path, how a DAG is drawn at the left, and a text that shows that it has loaded."""
    runs = client.list_runs(DAG)
    if not runs:
        sys.exit(f"{DAG} has not run yet; trigger it")
    newest = runs[-1]["dag_run_id"]
    views = {
        "airflow-dags": ("/dags", "grid", DAG),
        "airflow-retrain-grid": (f"/dags/{DAG}", "grid", "promote"),
        "airflow-retrain-graph": (f"/dags/{DAG}/runs/{newest}", "graph", "promote"),
    }
    waiting = [run["dag_run_id"] for run in runs if _is_waiting(client, run["dag_run_id"])]
    if waiting:
        path = f"/dags/{DAG}/runs/{waiting[-1]}/tasks/{APPROVAL}/required_actions"
        views["airflow-approval"] = (path, "grid", "Promote")
    return views


def _is_waiting(client: AirflowClient, run_id: str) -> bool:
    return bool(client.read_tasks(DAG, run_id).get(APPROVAL, {}).get("state") == "awaiting_input")


def take(browser: Browser, url: str, token: str, views: Mapping[str, tuple[str, str, str]]) -> None:
    """Take the pictures."""
    context = browser.new_context(color_scheme="light")
    context.add_cookies([{"name": "_token", "value": token, "url": url}])
    for name, (path, drawn, text) in views.items():
        context.add_init_script(f"localStorage.setItem('default_dag_view', {json.dumps(json.dumps(drawn))})")
        page = context.new_page()
        page.set_viewport_size({"width": WIDTH, "height": HEIGHTS.get(name, HEIGHT)})
        _open(page, f"{url}{path}", text)
        page.screenshot(path=HERE / f"{name}.png")
        page.close()
        sys.stdout.write(f"{HERE / name}.png\n")


def _open(page: Page, address: str, text: str) -> None:
    """Open a page, wait until it shows a text, and give it time to draw."""
    page.goto(address, timeout=LOADING)
    page.get_by_text(text).first.wait_for(timeout=LOADING)
    page.wait_for_timeout(DRAWING)


def main() -> None:
    """Log in to the local Airflow, open a browser, take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium; install it, for example with apt-get install chromium")
    platform = LocalPlatform(load_settings(), parts=(*PARTS, airflow.PART))
    url, password = str(platform.settings().airflow_url).rstrip("/"), airflow.read_password(platform.home)
    login = {"username": airflow.USER, "password": password}
    token = httpx.post(f"{url}/auth/token", json=login, timeout=60).json()["access_token"]
    with AirflowClient(url, airflow.USER, password) as client:
        views = list_views(client)
    names = sys.argv[1:] or list(views)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        take(browser, url, token, {name: views[name] for name in names})
        browser.close()


if __name__ == "__main__":
    main()
