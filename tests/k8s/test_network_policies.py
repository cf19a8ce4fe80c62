"""Who may talk to whom: the connections that pods make are allowed, and no other."""

import pytest

from tests.k8s.conftest import Manifest, find, pods, read_file, render

SERVICE = "Deployment my-otaku-friend"
# From, to, port: what the parts of the platform open, by the names of their pods in the overlay for trials.
OPENED = [
    (SERVICE, "StatefulSet postgresql", 5432),
    (SERVICE, "StatefulSet s3", 9000),
    (SERVICE, "Deployment mlflow", 5000),
    (SERVICE, "Deployment redis", 6379),
    ("Deployment mlflow", "StatefulSet postgresql", 5432),
    ("Deployment mlflow", "StatefulSet s3", 9000),
    ("a task", "StatefulSet postgresql", 5432),
    ("a task", "StatefulSet s3", 9000),
    ("a task", "Deployment mlflow", 5000),
]
REFUSED = [
    ("Deployment redis", "StatefulSet postgresql", 5432),
    ("Deployment mlflow", "Deployment redis", 6379),
    ("a task", "Deployment redis", 6379),
    ("a task", SERVICE, 8080),
    ("StatefulSet postgresql", "StatefulSet s3", 9000),
    (SERVICE, "StatefulSet postgresql", 22),
]


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Evaluate a label selector."""
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def allows(rules: list[Manifest], side: str, labels: dict[str, str], port: int, names: dict[str, int]) -> bool:
    """Tell whether one of the rules admits pods of the same namespace with these labels."""
    for rule in rules:
        ports = [names.get(entry["port"], entry["port"]) for entry in rule.get("ports", [{"port": port}])]
        peers = [peer for peer in rule.get(side, []) if "podSelector" in peer and "namespaceSelector" not in peer]
        if port in ports and any(matches(peer["podSelector"], labels) for peer in peers):
            return True
    return False


def may_connect(manifests: tuple[Manifest, ...], source: str, target: str, port: int) -> bool:
    """Evaluate the policies as Kubernetes does: both ends must allow it, and whatever no policy selects is open."""
    found = dict(pods(manifests))
    found["a task"] = read_file("airflow/pod_template.yaml")
    labels = {name: pod["metadata"]["labels"] for name, pod in found.items()}
    names = {entry["name"]: entry["containerPort"] for entry in found[target]["spec"]["containers"][0].get("ports", [])}
    policies = [manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    for end, other, kind, side in ((source, target, "Egress", "to"), (target, source, "Ingress", "from")):
        chosen = [
            spec for spec in policies if kind in spec["policyTypes"] and matches(spec["podSelector"], labels[end])
        ]
        assert chosen  # default-deny selects all
        if not any(allows(spec.get(kind.lower(), []), side, labels[other], port, names) for spec in chosen):
            return False
    return True


def test_whatever_no_rule_names_is_denied(manifests: tuple[Manifest, ...]) -> None:
    policy = find(manifests, "NetworkPolicy", "default-deny")["spec"]
    assert policy == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(("source", "target", "port"), OPENED)
def test_connection_is_allowed(source: str, target: str, port: int) -> None:
    assert may_connect(render("overlays/local"), source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), REFUSED)
def test_connection_is_refused(source: str, target: str, port: int) -> None:
    assert not may_connect(render("overlays/local"), source, target, port)


def test_every_rule_names_its_peers_and_ports(manifests: tuple[Manifest, ...]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "NetworkPolicy":
            continue
        spec, name = manifest["spec"], manifest["metadata"]["name"]
        for rule in spec.get("egress", []):
            assert rule.get("to"), name
            assert rule.get("ports"), name
        for rule in spec.get("ingress", []):
            assert rule.get("from"), name
