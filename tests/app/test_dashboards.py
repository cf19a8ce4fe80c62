"""Every query of the dashboards and of the alerts over our metrics, asked of a real Prometheus that scrapes the app."""

import datetime as dt
import json
import re
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, insert, text

from recsys.storage.job_runs import JobRun, record_run
from recsys.storage.tables import arrivals, decisions, drift_reports, quarantine
from tests.app.harness import FolderSource, wait_for
from tests.app.pages.conftest import build_page_settings, run_site
from tests.app.pages.test_prometheus import ask, run_prometheus

pytestmark = pytest.mark.local
MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
NOW = dt.datetime(2026, 1, 12, 23, tzinfo=dt.UTC)
# Of Kubernetes, cert-manager and the like, which nothing here exposes.
FOREIGN = ("kubelet_", "certmanager_", "probe_", "kube_")


def list_panels() -> dict[str, str]:
    """Every query by dashboard, panel and place."""
    found = {}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for place, target in enumerate(panel["targets"]):
                found[f"{path.stem}: {panel['title']} {place}"] = target["expr"].replace("$__rate_interval", "20s")
    return found


def fill(engine: Engine) -> None:
    """Write a week of the pipeline: arrivals, a promotion, two refusals, drift, refused rows and runs of jobs."""
    row = {"actor": "gate", "reason": "r", "evidence": {}, "model_name": "anime-recommender", "challenger_version": 1}
    with engine.begin() as connection:
        for key, action in (("2026-01-11-abc", "promote"), ("2026-01-12-a", "keep"), ("2026-01-12-b", "keep")):
            connection.execute(insert(decisions).values({**row, "run_key": key, "action": action}))
        day = {"day": NOW.date(), "n_users": 12, "n_ratings": 300, "n_generated": 0, "batch_id": "x"}
        connection.execute(insert(arrivals).values(day))
        report = {"features": [{"name": "genre mix", "psi": 0.3}]}
        drift = {"day": NOW.date(), "model_version": 1, "breached": True, "retraining_wanted": True, "reason": "r"}
        connection.execute(insert(drift_reports).values({**drift, "report": report, "report_uri": "s3://b/d"}))
        refused = {"file_digest": "x", "line": 2, "file_name": "f", "reason": "rating", "content": "c"}
        connection.execute(insert(quarantine).values(refused))
        connection.execute(text("ANALYZE"))
    for job, outcome, seconds in (("simulate_new_users", "succeeded", 3), ("retrain_model.evaluate", "failed", 60)):
        record_run(engine, JobRun(job, outcome, "", NOW, NOW + dt.timedelta(seconds=seconds), NOW.date()))


def query(url: str, expression: str) -> list[dict[str, Any]]:
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=30) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def test_every_query_returns_data(tmp_path: Path, model_folders: dict[int, Path], engine: Engine) -> None:
    fill(engine)
    url = engine.url.render_as_string(hide_password=False)
    settings = build_page_settings(tmp_path / "home", url, api_keys="boss-key")
    with (
        run_site(settings, FolderSource(dict(model_folders))) as site,
        run_prometheus(tmp_path, site.url.removeprefix("http://"), "boss-key") as prometheus,
    ):
        ask(site.url, 2)
        wait_for(lambda: bool(query(prometheus, 'otaku_recommendations_total{algorithm="ranker"}')))
        empty = dict.fromkeys(list_panels(), "")

        def find_empty() -> dict[str, str]:
            ask(site.url, 2)
            return {name: asked for name, asked in list_panels().items() if not query(prometheus, asked)}

        deadline = time.monotonic() + 120
        while empty and time.monotonic() < deadline:
            empty = find_empty()
        assert empty == {}
        check_values(prometheus)
        check_names(prometheus)


def check_values(prometheus: str) -> None:
    """What the tables say is what Prometheus has."""
    expected = {
        "otaku_gate_refusals_in_a_row": 2,
        "otaku_production_version": 1,
        "otaku_production_trained_timestamp_seconds": dt.datetime(2026, 1, 11, tzinfo=dt.UTC).timestamp(),
        "otaku_arrivals_users_total": 12,
        "otaku_drift_breached": 1,
        'otaku_drift_psi{feature="genre mix"}': 0.3,
        'otaku_job_last_duration_seconds{name="simulate_new_users"}': 3,
        'otaku_job_runs_total{name="retrain_model.evaluate",outcome="failed"}': 1,
        'otaku_job_last_failure_timestamp_seconds{name="retrain_model.evaluate"}': NOW.timestamp() + 60,
        'otaku_quarantined_rows{reason="rating"}': 1,
        "otaku_pipeline_up": 1,
        "otaku_model_version": 1,
        "otaku_queue_limit_requests{queue='work'}": 64,
    }
    found = {name: float(query(prometheus, name)[0]["value"][1]) for name in expected}
    assert found == expected


def check_names(prometheus: str) -> None:
    """Alerts and dashboards name no metric of ours that there is not."""
    rules = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text(encoding="utf-8"))["spec"]["groups"]
    expressions = [rule["expr"] for group in rules for rule in group["rules"]] + list(list_panels().values())
    names = {name for asked in expressions for name in re.findall(r"\b(?:otaku|process)_[a-z0-9_]+\b", asked)}
    names = {name for name in names if not name.startswith(FOREIGN)}
    assert {name for name in sorted(names) if not query(prometheus, f"count({name})")} == set()


def test_database_that_is_away_makes_the_pipeline_unknown(tmp_path: Path, model_folders: dict[int, Path]) -> None:
    settings = build_page_settings(tmp_path / "home", "postgresql://nobody@127.0.0.1:1/nothing")
    with (
        run_site(settings, FolderSource(dict(model_folders))) as site,
        urllib.request.urlopen(f"{site.url}/metrics", timeout=30) as response,
    ):
        lines = response.read().decode()
    assert "otaku_pipeline_up 0.0" in lines
    assert "otaku_arrivals" not in lines
    assert "otaku_build_info" in lines
