"""What the documents say exists, and what exists is in the documents."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.settings import list_variables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for folder in (ROOT, ROOT / "docs") for path in folder.rglob("*.md") if folder != ROOT)
DOCUMENTS += sorted(ROOT.glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIGURATION = ROOT / "docs" / "configuration.md"


def make_targets() -> dict[str, str]:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"([a-z0-9-]+):.*## (.*)", line)))


def walk_commands(group: Any, prefix: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk_commands(command, (*prefix, name))
        if not command.hidden and (not hasattr(command, "commands") or command.invoke_without_command):
            yield " ".join((*prefix, name))


def otaku_commands() -> list[str]:
    import typer

    from otaku.cli import app

    return sorted(walk_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", list_variables())
def test_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in CONFIGURATION.read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert re.search(rf"^#? ?{name}=", example, re.MULTILINE)


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    known = {*list_variables(), "OTAKU_SERVICE"}
    for path in [CONFIGURATION, ROOT / ".env.example"]:
        named = set(re.findall(r"\bOTAKU_[A-Z0-9_]+\b", path.read_text(encoding="utf-8")))
        assert named <= known, path


def test_every_command_is_documented() -> None:
    table = [line for line in README.splitlines() if line.startswith("| `otaku ")]
    assert table
    missing = [name for name in otaku_commands() if not any(re.search(rf"`otaku {name}\b", line) for line in table)]
    assert missing == []


def test_every_documented_command_exists() -> None:
    commands = otaku_commands()
    for line in README.splitlines():
        for name in re.findall(r"^\| `otaku ([a-z -]+[a-z])", line):
            assert any(name.startswith(command) for command in commands), line


def test_documented_make_targets_exist() -> None:
    named = {
        target
        for path in DOCUMENTS
        for target in re.findall(r"(?:^|`)make ([a-z0-9-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    targets = make_targets()
    assert named >= {"demo", "test", "check", "up", "down", "bench", "e2e", "lock", "clean", "fix"}
    assert named <= set(targets)


def test_help_lists_the_targets() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target, purpose in make_targets().items():
        assert f"make {target} " in shown
        assert purpose in shown


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    broken = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert broken == []


def test_decision_records_are_short_and_complete() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], path
        assert len(text.split()) <= 500, path
