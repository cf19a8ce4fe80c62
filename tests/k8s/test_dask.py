"""The Dask cluster: pods that Kubernetes takes, under the same limits as all others, reached by jobs alone."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.k8s.conftest import MANIFESTS, Manifest, read_file, render
from tests.k8s.test_manifests import VERSIONS, check_restricted

FILES = ("cluster.yaml", "network.yaml")
CLUSTER: Manifest = read_file("dask/cluster.yaml")
PARTS = ("scheduler", "worker")


def read_policies() -> Iterator[Manifest]:
    yield from yaml.safe_load_all((MANIFESTS / "dask" / "network.yaml").read_text(encoding="utf-8"))


def build_pod(part: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": CLUSTER["spec"][part]["spec"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_pods_service_and_policies_have_the_schema_of_kubernetes(version: str) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "otaku-dask-scheduler"}}
    service["spec"] = CLUSTER["spec"]["scheduler"]["service"]
    for manifest in (*map(build_pod, PARTS), service, *read_policies()):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_cluster_has_the_shape_of_its_operator() -> None:
    assert (CLUSTER["apiVersion"], CLUSTER["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    spec = CLUSTER["spec"]
    assert set(spec) == {"idleTimeout", "worker", "scheduler"}
    assert set(spec["worker"]) == {"replicas", "spec"}
    assert set(spec["scheduler"]) == {"spec", "service"}
    name = {"dask.org/cluster-name": CLUSTER["metadata"]["name"], "dask.org/component": "scheduler"}
    assert spec["scheduler"]["service"]["selector"] == name


@pytest.mark.parametrize("part", PARTS)
def test_pods_are_restricted_and_of_the_image_of_jobs(part: str) -> None:
    pod = build_pod(part)
    check_restricted(pod)
    (container,) = pod["spec"]["containers"]
    (task,) = read_file("airflow/pod_template.yaml")["spec"]["containers"]
    assert container["image"] == task["image"]
    assert pod["spec"]["securityContext"] == read_file("airflow/pod_template.yaml")["spec"]["securityContext"]


@pytest.mark.parametrize("part", PARTS)
def test_options_are_those_of_the_locked_dask(part: str) -> None:
    (container,) = CLUSTER["spec"][part]["spec"]["containers"]
    program, command, *options = container["args"]
    assert (program, command) == ("dask", part)
    shown = subprocess.run(
        [sys.executable, "-m", "dask", command, "--help"], capture_output=True, text=True, check=True
    )
    for option in options:
        assert not option.startswith("--") or option in shown.stdout, option
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if part == "worker":
        assert options[options.index("--worker-port") + 1] == str(ports["tcp-comm"])
        assert options[options.index("--nthreads") + 1] == "1"
    else:
        service = CLUSTER["spec"]["scheduler"]["service"]["ports"]
        assert {port["targetPort"]: port["port"] for port in service} == ports


def test_jobs_alone_reach_the_scheduler() -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in read_policies()}
    ours = {"dask.org/cluster-name": CLUSTER["metadata"]["name"]}
    inside, jobs, operator = policies["dask"]["ingress"]
    assert inside["from"] == [{"podSelector": {"matchLabels": ours}}]
    assert jobs["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "job"}}}]
    assert [port["port"] for port in jobs["ports"]] == [8786]
    assert "namespaceSelector" in operator["from"][0]
    (rule,) = policies["jobs-to-dask"]["egress"]
    assert rule["to"][0]["podSelector"]["matchLabels"].items() >= ours.items()


def test_kustomization_lists_every_file() -> None:
    listed: list[Any] = read_file("dask/kustomization.yaml")["resources"]
    assert sorted(listed) == sorted(FILES)
    assert {path.name for path in (MANIFESTS / "dask").iterdir()} == {*FILES, "kustomization.yaml"}
    for manifest in render("dask"):
        assert manifest["metadata"]["namespace"] == "my-otaku-friend"
