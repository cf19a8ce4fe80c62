"""The manifests as a cluster receives them: rendered by kustomize."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "k8s-manifests"
FOLDERS = ("base", "overlays/local", "overlays/production")
Manifest: TypeAlias = dict[str, Any]


@cache
def render(folder: str) -> tuple[Manifest, ...]:
    """Render a folder of k8s-manifests; skip the test where nothing can."""
    programs = [["kustomize", "build"], ["kubectl", "kustomize"]]
    command = next((program for program in programs if shutil.which(program[0])), None)
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    built = subprocess.run([*command, str(MANIFESTS / folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return tuple(yaml.safe_load_all(built.stdout))


@pytest.fixture(params=FOLDERS)
def manifests(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    """The manifests of the base and of each overlay in turn."""
    return render(request.param)


def read_file(name: str) -> Any:
    """Read one file of k8s-manifests as it is."""
    return yaml.safe_load((MANIFESTS / name).read_text(encoding="utf-8"))


def find(manifests: tuple[Manifest, ...], kind: str, name: str = "my-otaku-friend") -> Manifest:
    """Find the one object of a kind whose name is this, a hash of its content left out."""
    (found,) = [one for one in manifests if one["kind"] == kind and strip_hash(one["metadata"]["name"]) == name]
    return found


def strip_hash(name: str) -> str:
    """Remove what kustomize appends to the names of generated objects."""
    stem, _, end = name.rpartition("-")
    return stem if len(end) == 10 and end.isalnum() and any(letter.isdigit() for letter in end) else name


def pods(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """Go through the pod templates, those of scheduled jobs included."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield f"{manifest['kind']} {manifest['metadata']['name']}", spec["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """List all containers of a pod template."""
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def walk(node: Any) -> Iterator[tuple[str, Any]]:
    """Go through every key of a manifest."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from walk(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from walk(value)
