"""The values of Airflow's Helm chart: the chart is not here, what it documents of its values is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.k8s.conftest import Manifest, read_file, render

VALUES: Manifest = read_file("airflow/values.yaml")
LINES = (Path(__file__).parent / "airflow_chart_keys.txt").read_text(encoding="utf-8").splitlines()
DOCUMENTED = [line for line in LINES if not line.startswith("#")]


def list_paths(node: Any, path: str = "") -> Iterator[str]:
    """Go through the keys that hold something else than further keys."""
    if not isinstance(node, dict):
        yield path
        return
    for key, value in node.items():
        yield from list_paths(value, f"{path}.{key}".lstrip("."))


def test_chart_documents_every_key() -> None:
    whole = {path for path in DOCUMENTED if not path.endswith(".")}
    parts = tuple(path for path in DOCUMENTED if path.endswith("."))
    given = set(list_paths(VALUES))
    assert {path for path in given if path not in whole and not path.startswith(parts)} == set()
    assert whole <= given


def test_nothing_asks_for_files_of_airflows_own_image() -> None:
    """The chart's defaults run /entrypoint in probes and /clean-logs beside each component; neither is in ours."""
    for name in ("scheduler", "dagProcessor", "triggerer"):
        assert VALUES[name]["livenessProbe"]["command"][:3] == ["airflow", "jobs", "check"]
        assert VALUES[name]["logGroomerSidecar"] == {"enabled": False}
    assert VALUES["scheduler"]["startupProbe"] == VALUES["scheduler"]["livenessProbe"]


def test_no_user_has_the_password_of_the_chart() -> None:
    assert VALUES["createUserJob"] == {"enabled": False}


def test_containers_may_write_where_airflow_writes() -> None:
    assert VALUES["securityContexts"]["containers"]["readOnlyRootFilesystem"]
    (mount,) = VALUES["volumeMounts"]
    assert VALUES["airflowHome"].startswith(mount["mountPath"])
    assert [volume["name"] for volume in VALUES["volumes"]] == [mount["name"]]


def test_tasks_write_logs_where_the_chart_keeps_them() -> None:
    """The claim, the account and the service are named after the release, which is `airflow`."""
    pod = read_file("airflow/pod_template.yaml")["spec"]
    claims = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "airflow-logs"}]
    assert pod["serviceAccountName"] == "airflow-worker"
    settings = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    namespace = VALUES["config"]["kubernetes_executor"]["namespace"]
    url = f"http://airflow-api-server.{namespace}.svc:8080/execution/"
    assert settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == url
    assert namespace == next(one for one in render("base") if one["kind"] == "Namespace")["metadata"]["name"]
