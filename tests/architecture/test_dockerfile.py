"""The Dockerfile read as text: what can be known of the images without a Docker daemon."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"recsys", "simulate_new_users", "retrain_model", "app", "otaku"}


class Instruction(NamedTuple):
    stage: str
    name: str
    value: str


def read_instructions() -> list[Instruction]:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    instructions, stage = [], ""
    for line in filter(None, map(str.strip, text.splitlines())):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            stage = value.split(" AS ")[1]
        instructions.append(Instruction(stage, name, value))
    return instructions


INSTRUCTIONS = read_instructions()
PARENTS = {i.stage: i.value.split()[0] for i in INSTRUCTIONS if i.name == "FROM"}


def lineage(stage: str) -> list[str]:
    """List a stage and what it is built on, the base first."""
    return [*(lineage(PARENTS[stage]) if stage in PARENTS else []), stage]


def values(target: str, name: str) -> list[str]:
    stages = lineage(target)
    return [i.value for stage in stages for i in INSTRUCTIONS if (i.stage, i.name) == (stage, name)]


def copied(stage: str) -> list[str]:
    sources = [value.split()[:-1] for value in values(stage, "COPY") if not value.startswith("--from")]
    return [source.rstrip("/") for row in sources for source in row]


@pytest.mark.parametrize("stage", PARENTS)
def test_copied_files_exist_and_reach_the_build(stage: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for source in copied(stage):
        assert (ROOT / source).exists()
        assert source.split("/")[0] in allowed


@pytest.mark.parametrize(("target", "lock"), [("app", "app.txt"), ("jobs", "jobs.txt")])
def test_image_is_made_from_its_lock_and_by_an_unprivileged_user(target: str, lock: str) -> None:
    builder = f"{target}-builder"
    installs = [value for value in values(builder, "RUN") if "uv pip install" in value]
    assert [re.findall(r"requirements/(\S+)", value) for value in installs] == [[lock], []]
    assert "--no-verify-hashes" not in installs[0]
    assert "--no-deps" in installs[1]
    assert f"--from={builder} /opt/otaku /opt/otaku" in values(target, "COPY")
    assert values(target, "USER") == ["10001:10001"]
    assert PARENTS[target] == "runtime"
    assert not any("uv" in value.split() or "gcc" in value for value in values(target, "RUN"))


def test_images_hold_the_packages_they_need() -> None:
    assert PACKAGES & set(copied("app-builder")) == {"recsys", "app"}
    assert set(copied("jobs-builder")) >= PACKAGES
    assert {"dags", "plugins"} <= set(copied("jobs"))


@pytest.mark.parametrize("target", ["app", "jobs"])
def test_commands_are_exec_form(target: str) -> None:
    commands = [*values(target, "ENTRYPOINT"), *values(target, "CMD")]
    commands += [value.partition("CMD ")[2] for value in values(target, "HEALTHCHECK") if value != "NONE"]
    assert commands
    for command in commands:
        assert all(isinstance(part, str) for part in json.loads(command))


def test_base_image_and_uv_are_named_once() -> None:
    assert {PARENTS["builder"], PARENTS["runtime"]} == {"${PYTHON_IMAGE}"}
    version = re.search(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert version is not None
    assert f"UV_VERSION={version[1]}" in values("builder", "ARG")
