"""compose.yaml: the images of this version, passwords from the outside, everything on this machine alone."""

import re
from pathlib import Path
from typing import Any

import yaml

from recsys import __version__
from recsys.settings import Settings
from recsys.storage.migration import read_roles_sql

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def test_our_images_have_the_version_of_the_package_and_no_rights() -> None:
    ours = {name: one for name, one in SERVICES.items() if one["image"].startswith("my-otaku-friend-")}
    assert len(ours) == 7
    for service in ours.values():
        assert service["image"].endswith(f":${{OTAKU_VERSION:-{__version__}}}")
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_other_images_are_pinned_as_in_the_manifests() -> None:
    for service in SERVICES.values():
        assert not service["image"].endswith((":latest", "/"))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "k8s-manifests").rglob("kustomization.yaml"))
    tags = dict(re.findall(r"name: (redis|postgres|rclone/rclone)\n +newTag: (\S+)", text))
    images = dict(service["image"].split(":", 1) for service in SERVICES.values() if "$" not in service["image"])
    assert {name: images[name] for name in tags} == tags


def test_every_password_is_asked_for() -> None:
    asked = set(re.findall(r"\$\{([A-Z_]+):\?", TEXT))
    example = (ROOT / ".env.compose.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^([A-Z_]+)=$", example, flags=re.MULTILINE)) == asked


def test_one_container_changes_tables_and_the_others_have_roles() -> None:
    urls = {name: service.get("environment", {}).get("OTAKU_DATABASE_URL") for name, service in SERVICES.items()}
    logins = {name: re.findall(r"postgresql://(\w+):", url)[0] for name, url in urls.items() if url}
    assert logins.pop("airflow-migrate") == SERVICES["postgresql"]["environment"]["POSTGRES_USER"] == "otaku"
    assert logins.pop("app") == "service"
    assert set(logins.values()) == {"jobs"}
    created = dict(re.findall(r"CREATE ROLE (\w+) LOGIN .* IN ROLE (otaku_\w+)", TEXT))
    assert created == {"service": "otaku_service", "jobs": "otaku_jobs", "backup": "otaku_backup"}
    assert set(re.findall(r"CREATE ROLE (\w+) NOLOGIN", TEXT)) == set(re.findall(r"'(otaku_\w+)'", read_roles_sql()))


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_settings_of_the_service_exist() -> None:
    known = {f"OTAKU_{name}".upper() for name in Settings.model_fields}
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert {name for name in given if name.startswith("OTAKU_")} <= known


def test_what_is_waited_for_exists_and_has_a_check() -> None:
    for service in SERVICES.values():
        for name, needed in service.get("depends_on", {}).items():
            assert needed["condition"] != "service_healthy" or "healthcheck" in SERVICES[name]
