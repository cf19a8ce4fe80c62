"""The vocabulary of docs/glossary.md: a word that a term replaces does not come back."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
CHECKED = {".py", ".md", ".cfg", ".toml", ".yaml", ".sh", ".mako"}
# This page and its test list the words; a changelog and migrations keep the text of their day.
EXEMPT = {"docs/glossary.md", "tests/architecture/test_glossary.py", "CHANGELOG.md"}


def read_replaced() -> dict[str, str]:
    """Return each replaced word with the term that stands for it."""
    rows = [line.strip("|").split("|") for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if "|" in line]
    return {
        word.strip(): term.strip()
        for term, _, words in (row for row in rows if len(row) == 3)
        for word in words.split(",")
        if word.strip() and not set(word.strip()) <= {"-"} and word.strip() != "not"
    }


def list_checked_files() -> Iterator[Path]:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        path = ROOT / name
        if path.suffix in CHECKED and name not in EXEMPT and "migrations/versions" not in name and path.exists():
            yield path


def find_words(text: str, words: dict[str, str]) -> list[str]:
    """Find replaced words in prose and in the parts of identifiers."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").lower()
    pattern = "|".join(rf"\b{re.escape(word)}\b" for word in sorted(words, key=len, reverse=True))
    return re.findall(pattern, parts)


def test_replaced_words_stay_replaced() -> None:
    words = read_replaced()
    found = {
        f"{path.relative_to(ROOT)}: {word!r}, say {words[word]!r}"
        for path in list_checked_files()
        for word in find_words(path.read_text(encoding="utf-8"), words)
    }
    assert not found, "\n".join(sorted(found))


def test_replaced_words_are_found_in_prose_and_identifiers() -> None:
    words = read_replaced()
    assert len(words) > 20
    assert find_words("def judge_all(Jury): ...  # the Catalogue", words) == ["judge", "jury", "catalogue"]
    assert find_words("evaluation of a user", words) == []


def test_every_term_is_listed_once() -> None:
    terms = [line.split("|")[1].strip() for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if "|" in line]
    named = [term for term in terms if term not in ("term", "---")]
    assert len(named) == len(set(named)) > 35
