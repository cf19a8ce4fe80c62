"""Compare the imports of a source tree with the requirements that setup.cfg declares for it.

deptry, which does this for pyproject.toml, reads neither setup.cfg nor one set of requirements per package.
"""

import ast
import configparser
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Final

BASE: Final = ""
# Distributions whose modules come with a requirement of another name.
METAPACKAGES: Final = {"apache-airflow-core": "apache-airflow", "apache-airflow-task-sdk": "apache-airflow"}


def normalize_name(name: str) -> str:
    """Spell the name of a distribution as locks do: `SQLAlchemy` and `prometheus_client` in lower case with hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(setup_cfg: Path) -> dict[str, set[str]]:
    """Read the names that setup.cfg requires by extra; `BASE` is `install_requires`."""
    config = configparser.ConfigParser()
    config.read(setup_cfg, encoding="utf-8")
    groups = {BASE: config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: {normalize_name(re.split(r"[<>=!~\[;]", row)[0].strip()) for row in text.splitlines() if row.strip()}
        for extra, text in groups.items()
    }


@cache
def list_imports(path: Path) -> frozenset[str]:
    """List the dotted modules outside the standard library that a file imports, at any depth."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in modules if name.split(".")[0] not in sys.stdlib_module_names)


@cache
def find_distributions(module: str) -> frozenset[str]:
    """Find which installed distributions provide a module; the name itself if none is installed.

    Of several that share a namespace (`airflow`, `mlflow`) those count that ship the longest part of the dotted name.
    """
    parts = module.split(".")
    candidates = set(_packages_distributions().get(parts[0], []))
    for length in range(len(parts), 1, -1):
        stem = "/".join(parts[:length])
        shipping = {name for name in candidates if {f"{stem}.py", f"{stem}/__init__.py"} & _list_files(name)}
        if shipping:
            candidates = shipping
            break
    names = {normalize_name(name) for name in candidates or {parts[0]}}
    return frozenset(METAPACKAGES.get(name, name) for name in names)


@cache
def _packages_distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@cache
def _list_files(name: str) -> frozenset[str]:
    return frozenset(str(path) for path in distribution(name).files or ())


def find_undeclared(files: Iterable[Path], declared: Collection[str], first_party: Collection[str]) -> set[str]:
    """Find imports that no declared distribution provides, as `file: module`."""
    return {
        f"{path}: {module}"
        for path in files
        for module in list_imports(path)
        if module.split(".")[0] not in first_party and find_distributions(module).isdisjoint(declared)
    }


def find_unused(files: Iterable[Path], declared: Collection[str]) -> set[str]:
    """Find declared distributions that no file imports."""
    provided = (find_distributions(module) for path in files for module in list_imports(path))
    return set(declared).difference(*provided)
