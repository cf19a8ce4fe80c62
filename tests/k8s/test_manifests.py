"""The rendered manifests against the schemas of Kubernetes, against one another and against the service."""

import base64
import re
from collections import Counter
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

import otaku.cli
from recsys import __version__
from recsys.settings import Settings
from recsys.storage.migration import read_roles_sql
from tests.k8s.conftest import (
    FOLDERS,
    MANIFESTS,
    ROOT,
    Manifest,
    containers,
    find,
    pods,
    read_file,
    render,
    strip_hash,
    walk,
)

VERSIONS = ("1.32", "1.34", "1.36")
LABELS = {f"app.kubernetes.io/{name}" for name in ["instance", "version", "part-of", "managed-by"]}
CUSTOM = {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_have_the_schema_of_kubernetes(manifests: tuple[Manifest, ...], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_pod_of_a_task_has_the_schema_of_kubernetes(version: str) -> None:
    kubernetes_validate.validate(read_file("airflow/pod_template.yaml"), version, strict=True)


def test_schema_check_catches_a_misspelt_field() -> None:
    service = find(render("base"), "Service")
    broken = {**service, "spec": {**service["spec"], "selectr": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_every_file_is_part_of_a_kustomization() -> None:
    used = set()
    for path in MANIFESTS.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = [
            *content.get("resources", []),
            *(patch["path"] for patch in content.get("patches", []) if "path" in patch),
        ]
        for generator in content.get("configMapGenerator", []):
            names += [*generator.get("envs", []), *generator.get("files", [])]
        assert [name for name in names if not (path.parent / name).exists()] == []
        used |= {path, *((path.parent / name).resolve() for name in names)}
    for folder in FOLDERS:
        files = {path for path in (MANIFESTS / folder).rglob("*") if path.is_file()}
        assert files - used == set()


def test_service_monitor_has_the_shape_of_its_operator(manifests: tuple[Manifest, ...]) -> None:
    monitor, service = find(manifests, "ServiceMonitor"), find(manifests, "Service")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"]["release"]
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval", "scrapeTimeout", "authorization"}
    assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}
    assert int(endpoint["scrapeTimeout"].rstrip("s")) <= int(endpoint["interval"].rstrip("s"))
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_objects_carry_the_common_labels_and_their_namespace(manifests: tuple[Manifest, ...]) -> None:
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert set(metadata["labels"]) >= LABELS - {"app.kubernetes.io/version", "app.kubernetes.io/instance"}
        assert manifest["kind"] == "Namespace" or metadata["namespace"] == "my-otaku-friend"
    for manifest in render("base"):
        assert set(manifest["metadata"]["labels"]) >= LABELS
        assert manifest["metadata"]["labels"]["app.kubernetes.io/version"] == __version__


def test_objects_are_named_once(manifests: tuple[Manifest, ...]) -> None:
    names = Counter((one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in manifests)
    assert set(names.values()) == {1}


def test_selectors_meet_the_pods(manifests: tuple[Manifest, ...]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}
    for manifest in manifests:
        selector = manifest.get("spec", {}).get("selector", {})
        selector = selector.get("matchLabels", selector)
        if manifest["kind"] in {"Deployment", "StatefulSet", "Service", "PodDisruptionBudget"}:
            assert selector
            assert "app.kubernetes.io/version" not in selector
            assert [name for name, found in labels.items() if selector.items() <= found.items()]
    deployment = find(manifests, "Deployment")
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for constraint in spread:
        assert constraint["labelSelector"] == deployment["spec"]["selector"]


def check_restricted(pod: Manifest) -> None:
    """Assert what the pod security standard `restricted` asks for, and a read-only root besides."""
    context = pod["spec"]["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers(pod):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_pods_have_no_rights_they_do_not_need(manifests: tuple[Manifest, ...]) -> None:
    for _, pod in pods(manifests):
        check_restricted(pod)
    check_restricted(read_file("airflow/pod_template.yaml"))
    labels = find(manifests, "Namespace")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"].startswith("v1.")


def test_pods_of_our_images_run_as_their_user() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ours = [pod for _, pod in pods(render("base")) if "my-otaku-friend" in containers(pod)[0]["image"]]
    assert len(ours) >= 2
    for pod in [*ours, read_file("airflow/pod_template.yaml")]:
        context = pod["spec"]["securityContext"]
        assert f"USER {context['runAsUser']}:{context['runAsGroup']}\n" in dockerfile


def test_no_answer_is_lost_while_pods_are_replaced(manifests: tuple[Manifest, ...]) -> None:
    deployment = find(manifests, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in deployment  # the autoscaler says how many
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < pause < pod["terminationGracePeriodSeconds"]
    budget = find(manifests, "PodDisruptionBudget")["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    scaler = find(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["minReplicas"] <= scaler["maxReplicas"]


def test_production_survives_the_loss_of_a_pod_and_of_a_zone() -> None:
    production = render("overlays/production")
    budget, scaler = find(production, "PodDisruptionBudget"), find(production, "HorizontalPodAutoscaler")
    assert scaler["spec"]["minReplicas"] > budget["spec"]["minAvailable"]
    zones = find(production, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    assert zones["whenUnsatisfiable"] == "DoNotSchedule"


def test_production_is_reached_by_tls_alone_and_trusts_named_proxies() -> None:
    production = render("overlays/production")
    ingress, service = find(production, "Ingress")["spec"], find(production, "Service")
    hosts = {rule["host"] for rule in ingress["rules"]}
    assert hosts == {host for tls in ingress["tls"] for host in tls["hosts"]}
    assert service["spec"]["type"] == "ClusterIP"
    data = find(production, "ConfigMap")["data"]
    assert "OTAKU_ALLOWED_HOSTS" not in data  # Prometheus asks pods by their addresses
    assert data["OTAKU_TRUSTED_PROXIES"]
    assert data["OTAKU_S3_ENDPOINT_URL"].startswith("https://")
    assert find(render("overlays/local"), "Service")["spec"]["type"] == "LoadBalancer"


def test_probes_and_metrics_are_routes_of_the_service() -> None:
    from app.main import create_app

    base = render("base")
    container = containers(find(base, "Deployment")["spec"]["template"])[0]
    settings = Settings(database_url="postgresql://nowhere/otaku", mlflow_tracking_uri="http://nowhere")
    routes = create_app(settings).openapi()["paths"]
    probes = {container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {"/health/live", "/health/ready"}
    metrics = {endpoint["path"] for endpoint in find(base, "ServiceMonitor")["spec"]["endpoints"]}
    assert probes | metrics <= set(routes)


def test_ports_agree(manifests: tuple[Manifest, ...]) -> None:
    (container,) = containers(find(manifests, "Deployment")["spec"]["template"])
    (port,) = container["ports"]
    assert str(port["containerPort"]) == find(manifests, "ConfigMap")["data"]["OTAKU_PORT"]
    for service in (one for one in manifests if one["kind"] == "Service"):
        selected = [
            pod
            for _, pod in pods(manifests)
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        (pod,) = selected
        names = {port["name"] for container in containers(pod) for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def list_settings() -> tuple[set[str], set[str]]:
    """List the variables that the settings know, and those that are secret."""
    known, secret = {"AWS_DEFAULT_REGION", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"}, set()
    for name, field in Settings.model_fields.items():
        alias = getattr(field.validation_alias, "choices", [f"OTAKU_{name.upper()}"])[0]
        known.add(alias)
        if "SecretStr" in str(field.annotation):
            secret.add(alias)
    return known, secret


def test_configuration_is_known_and_holds_no_secret(manifests: tuple[Manifest, ...]) -> None:
    known, secret = list_settings()
    for name in ("my-otaku-friend", "my-otaku-friend-mlflow", "my-otaku-friend-jobs"):
        given = set(find(manifests, "ConfigMap", name)["data"])
        assert given <= known
        assert given.isdisjoint(secret)
    assert find(manifests, "ConfigMap")["data"]["OTAKU_AUTH"] == "keys"


def test_secrets_are_made_outside_but_for_trials() -> None:
    """An overlay for trials writes its own; wherever else a Secret is asked for, a pod waits until there is one."""
    for folder in ("base", "overlays/production"):
        assert [one for one in render(folder) if one["kind"] == "Secret"] == []
    assert [value for key, value in walk(render("overlays/production")) if key == "optional"] == []
    _, secret = list_settings()
    made = [one["data"] for one in render("overlays/local") if one["kind"] == "Secret"]
    assert secret - {name for data in made for name in data} == {"OTAKU_AIRFLOW_PASSWORD"}


def list_secrets(pod: Manifest) -> set[str]:
    """Name the Secrets that a pod reads."""
    found = [value["name"] for key, value in walk(pod) if key in {"secretRef", "secretKeyRef"}]
    return set(found)


def test_trial_has_every_secret_that_a_pod_reads() -> None:
    local = render("overlays/local")
    made = {one["metadata"]["name"] for one in local if one["kind"] == "Secret"}
    for name, pod in pods(local):
        assert list_secrets(pod) <= made, name
    assert list_secrets(read_file("airflow/pod_template.yaml")) <= made


def read_logins(folder: str) -> dict[str, str]:
    """Read with which login of the database the pods of each Secret of an overlay connect."""
    urls = {
        strip_hash(one["metadata"]["name"]): base64.b64decode(one["data"]["OTAKU_DATABASE_URL"]).decode()
        for one in render(folder)
        if one["kind"] == "Secret" and "OTAKU_DATABASE_URL" in one["data"]
    }
    return {name: str(make_url(url).username) for name, url in urls.items()}


def test_one_job_changes_tables_and_all_others_have_roles() -> None:
    logins = read_logins("overlays/local")
    roles = read_roles_sql()
    sql = find(render("overlays/local"), "ConfigMap", "postgresql-databases")["data"]["databases.sql"]
    members = dict(re.findall(r"CREATE ROLE (\w+) LOGIN PASSWORD '[^']+' IN ROLE ([\w, ]+);", sql))
    groups = {"service": {"otaku_service", "otaku_operations"}, "jobs": {"otaku_jobs"}, "backup": {"otaku_backup"}}
    assert {login: set(group.split(", ")) for login, group in members.items()} == groups
    assert set(re.findall(r"CREATE ROLE (\w+) NOLOGIN", sql)) == set(re.findall(r"'(otaku_\w+)'", roles))
    owner = logins.pop("my-otaku-friend-migrate")
    assert logins == {
        "my-otaku-friend": "service",
        "my-otaku-friend-jobs": "jobs",
        "my-otaku-friend-backup": "backup",
    }
    assert owner not in members
    readers = [name for name, pod in pods(render("base")) if "my-otaku-friend-migrate" in list_secrets(pod)]
    assert readers == [f"Job migrate-{__version__.replace('.', '-')}"]


def test_alert_about_backups_finds_the_job_that_makes_them() -> None:
    rule = (ROOT / "monitoring" / "prometheus-rule.yaml").read_text(encoding="utf-8")
    (pattern,) = re.findall(r'cronjob=~"([^"]+)"', rule)
    base = render("base")
    (job,) = [one for one in base if one["kind"] == "CronJob"]
    assert re.fullmatch(pattern, job["metadata"]["name"])
    bucket = find(base, "ConfigMap", "my-otaku-friend-jobs")["data"]["OTAKU_S3_BUCKET"]
    arguments = containers(job["spec"]["jobTemplate"]["spec"]["template"])[0]["args"]
    assert not arguments[2].startswith(f"s3://{bucket}/")  # which the command refuses
    for name, pod in pods(base):
        if name.startswith(("Job", "CronJob")):
            program, *command = containers(pod)[0]["args"]
            assert program == "otaku"
            assert CliRunner().invoke(otaku.cli.app, [*command, "--help"]).exit_code == 0


def test_images_are_named_once_and_never_latest(manifests: tuple[Manifest, ...]) -> None:
    images = {container["image"] for _, pod in pods(manifests) for container in containers(pod)}
    for image in images:
        name, _, tag = image.rpartition(":")
        assert name
        assert tag not in {"", "latest"}
        assert "my-otaku-friend" not in image or tag == __version__
    assert len(images) == len({image.rpartition(":")[0] for image in images})


def test_tasks_of_airflow_run_the_image_of_the_jobs() -> None:
    values, pod = read_file("airflow/values.yaml"), read_file("airflow/pod_template.yaml")
    image = f"{values['images']['airflow']['repository']}:{values['images']['airflow']['tag']}"
    assert image == pod["spec"]["containers"][0]["image"] == f"my-otaku-friend-jobs:{__version__}"
    assert pod["spec"]["containers"][0]["name"] == "base"  # which the executor looks for
    assert values["executor"] == "KubernetesExecutor"
    lock = (ROOT / "requirements" / "jobs.txt").read_text(encoding="utf-8")
    assert f"apache-airflow=={values['airflowVersion']} " in lock
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"AIRFLOW__CORE__DAGS_FOLDER={values['config']['core']['dags_folder']} " in dockerfile
    assert f"AIRFLOW_HOME={values['airflowHome']} " in dockerfile
    pools: Any = values["migrateDatabaseJob"]["args"][-1]
    assert 'airflow pools set training 1 "' in pools
