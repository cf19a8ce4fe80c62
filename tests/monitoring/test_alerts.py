"""Alerts: each has a firing and a silent case that promtool runs, a runbook, and a route of Alertmanager."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "monitoring"
RULE: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text(encoding="utf-8"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in RULE["spec"]["groups"] for rule in group["rules"] if "alert" in rule
}
CASES: dict[str, Any] = yaml.safe_load((MONITORING / "tests" / "alerts.yaml").read_text(encoding="utf-8"))
RUNBOOKS = re.findall(r"^## (Otaku\w+)$", (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8"), re.MULTILINE)


def run(program: str, *arguments: str, folder: Path) -> str:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)")
    # Each case has a store of its own, which is faster in memory.
    shared = Path("/dev/shm")  # noqa: S108
    environment = {**os.environ, "TMPDIR": str(shared if shared.is_dir() else folder)}
    done = subprocess.run([program, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with the rules as Prometheus reads them, and the cases."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]), encoding="utf-8")
    shutil.copy(MONITORING / "tests" / "alerts.yaml", tmp_path)
    return tmp_path


def test_rules_are_valid(rules: Path) -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml", folder=rules)


@pytest.mark.slow
def test_alerts_fire_and_stay_silent(rules: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", "alerts.yaml", folder=rules)


def test_a_threshold_that_changed_is_noticed(rules: Path) -> None:
    """A case that cannot fail would show nothing."""
    changed = (
        (rules / "rules.yaml")
        .read_text()
        .replace("otaku_gate_refusals_in_a_row) >= 3", "otaku_gate_refusals_in_a_row) >= 4")
    )
    (rules / "rules.yaml").write_text(changed)
    cases = [case for case in CASES["tests"] if case["name"].startswith("OtakuGateRefusesInARow")]
    (rules / "alerts.yaml").write_text(yaml.safe_dump({**CASES, "tests": cases}))
    with pytest.raises(AssertionError, match="OtakuGateRefusesInARow"):
        run("promtool", "test", "rules", "alerts.yaml", folder=rules)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_both_cases_a_runbook_and_a_severity(name: str) -> None:
    checks = [check for case in CASES["tests"] for check in case["alert_rule_test"] if check["alertname"] == name]
    assert {bool(check["exp_alerts"]) for check in checks} == {True, False}
    assert ALERTS[name]["labels"]["severity"] in ("page", "ticket")
    assert ALERTS[name]["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
    assert name in RUNBOOKS


def test_every_runbook_has_its_alert() -> None:
    assert sorted(RUNBOOKS) == sorted(ALERTS)


def test_alertmanager_takes_the_routes(tmp_path: Path) -> None:
    path = str(MONITORING / "alertmanager.yaml")
    assert "SUCCESS" in run("amtool", "check-config", path, folder=tmp_path)
    for severity, receiver in (("page", "on-call"), ("ticket", "tickets")):
        found = run(
            "amtool", "config", "routes", "test", f"--config.file={path}", f"severity={severity}", folder=tmp_path
        )
        assert found.split() == [receiver]


def test_alertmanager_names_alerts_that_exist() -> None:
    text = (MONITORING / "alertmanager.yaml").read_text(encoding="utf-8")
    for pattern in re.findall(r'alertname =~? "([^"]+)"', text):
        for part in pattern.split("|"):
            assert any(re.fullmatch(part, name) for name in ALERTS), part
