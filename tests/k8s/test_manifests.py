"""The Kubernetes manifests against the schemas of Kubernetes, against one another and against the service."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from recsys.settings import Settings

BASE = Path(__file__).resolve().parents[2] / "k8s-manifests" / "base"
VERSIONS = ("1.30", "1.36")
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [
    document
    for resource in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((BASE / resource).read_text(encoding="utf-8"))
]
BY_KIND = {manifest["kind"]: manifest for manifest in OBJECTS}
LABELS = {f"app.kubernetes.io/{name}" for name in ["name", "instance", "version", "component", "part-of", "managed-by"]}
POD: dict[str, Any] = BY_KIND["Deployment"]["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Go through every key of a manifest."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def test_every_file_is_part_of_the_kustomization() -> None:
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    assert sorted(BY_KIND) == sorted(manifest["kind"] for manifest in OBJECTS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [kind for kind in BY_KIND if kind != "ServiceMonitor"])
def test_object_has_the_schema_of_kubernetes(kind: str, version: str) -> None:
    kubernetes_validate.validate(BY_KIND[kind], version, strict=True)


def test_schema_check_catches_a_misspelt_field() -> None:
    broken = {**BY_KIND["Service"], "spec": {**BY_KIND["Service"]["spec"], "selectr": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_service_monitor_has_the_shape_of_its_operator() -> None:
    monitor = BY_KIND["ServiceMonitor"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "namespaceSelector", "endpoints"}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout", "authorization"}
    assert int(endpoint["scrapeTimeout"].rstrip("s")) <= int(endpoint["interval"].rstrip("s"))
    assert endpoint["port"] in {port["name"] for port in BY_KIND["Service"]["spec"]["ports"]}
    assert monitor["spec"]["namespaceSelector"]["matchNames"] == [BY_KIND["Namespace"]["metadata"]["name"]]


@pytest.mark.parametrize("kind", BY_KIND)
def test_object_carries_the_common_labels_and_its_namespace(kind: str) -> None:
    metadata = BY_KIND[kind]["metadata"]
    assert set(metadata["labels"]) >= LABELS
    if kind != "Namespace":
        assert metadata["namespace"] == BY_KIND["Namespace"]["metadata"]["name"]


def test_selectors_meet_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert set(labels) >= LABELS
    selectors = [
        BY_KIND["Deployment"]["spec"]["selector"]["matchLabels"],
        BY_KIND["Service"]["spec"]["selector"],
        BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        POD["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert "app.kubernetes.io/version" not in selector
    monitored = BY_KIND["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= BY_KIND["Service"]["metadata"]["labels"].items()


def test_pods_have_no_rights_they_do_not_need() -> None:
    pod, security = POD["spec"], CONTAINER["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == BY_KIND["ServiceAccount"]["metadata"]["name"]
    writable = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == writable


def test_pods_run_as_the_user_of_the_image() -> None:
    dockerfile = (BASE.parents[1] / "Dockerfile").read_text(encoding="utf-8")
    context = POD["spec"]["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile


def test_no_answer_is_lost_while_pods_are_replaced() -> None:
    deployment = BY_KIND["Deployment"]["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert deployment["replicas"] > BY_KIND["PodDisruptionBudget"]["spec"]["minAvailable"]
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < pause < POD["spec"]["terminationGracePeriodSeconds"]
    assert {"requests", "limits"} <= set(CONTAINER["resources"])


def test_probes_and_metrics_are_routes_of_the_service() -> None:
    from app.main import create_app

    settings = Settings(database_url="postgresql://nowhere/otaku", mlflow_tracking_uri="http://nowhere")
    routes = create_app(settings).openapi()["paths"]
    probes = {CONTAINER[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {"/health/live", "/health/ready"}
    metrics = {endpoint["path"] for endpoint in BY_KIND["ServiceMonitor"]["spec"]["endpoints"]}
    assert probes | metrics <= set(routes)


def test_ports_agree() -> None:
    (port,) = CONTAINER["ports"]
    assert str(port["containerPort"]) == BY_KIND["ConfigMap"]["data"]["OTAKU_PORT"]
    assert BY_KIND["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    probes = {CONTAINER[name]["httpGet"]["port"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {port["name"]}


def test_configuration_is_known_and_holds_no_secret() -> None:
    known, secret = set(), set()
    for name, field in Settings.model_fields.items():
        alias = getattr(field.validation_alias, "choices", [f"OTAKU_{name.upper()}"])[0]
        known.add(alias)
        if "SecretStr" in str(field.annotation):
            secret.add(alias)
    given = set(BY_KIND["ConfigMap"]["data"])
    assert given <= known
    assert given.isdisjoint(secret)
    assert "Secret" not in BY_KIND
    assert [source for source in CONTAINER["envFrom"] if "secretRef" in source]
    described = set(re.findall(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", (BASE / "config.yaml").read_text(encoding="utf-8")))
    assert secret <= described


def test_image_is_named_once_and_never_latest() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert CONTAINER["image"] == f"{image['name']}:{image['newTag']}"
    assert image["newTag"] == POD["metadata"]["labels"]["app.kubernetes.io/version"]
    assert [value for key, value in walk(OBJECTS) if key == "image"] == [CONTAINER["image"]]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_the_base() -> None:
    built = subprocess.run(["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=True).stdout
    assert sorted(manifest["kind"] for manifest in yaml.safe_load_all(built)) == sorted(BY_KIND)
