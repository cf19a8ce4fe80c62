"""The pages in research/ can be rendered again by anybody, on any folder in the Kaggle layout."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from recsys.data.sample_world import write_sample_world
from tests.fork_server import run_program

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "research" / "0-the-data" / "render.py"


def _render(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return run_program([SCRIPT, *arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    data = tmp_path_factory.mktemp("research") / "data"
    write_sample_world(data, n_users=150, n_items=120, n_ratings=4_000, seed=0)
    result = _render(data, data.parent / "page")
    assert result.returncode == 0, result.stderr
    return data, data.parent / "page"


def test_page_tells_the_counts_of_the_files(folders: tuple[Path, Path]) -> None:
    data, page = folders
    text = (page / "README.md").read_text(encoding="utf-8")
    ratings, anime = pd.read_csv(data / "rating_complete.csv"), pd.read_csv(data / "anime.csv")
    unlisted = int((~ratings["anime_id"].isin(anime["MAL_ID"])).sum())
    assert unlisted > 0
    assert "- ratings: **4,000**" in text
    assert "- users: **150**" in text
    assert f"| ratings of titles that anime.csv does not list | {unlisted:,} | 4,000 |" in text
    assert f"The mean is {ratings['rating'].mean():.2f}" in text
    assert "nan" not in text


def test_figures_are_small_drawings_with_labels(folders: tuple[Path, Path]) -> None:
    _, page = folders
    names = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (page / "README.md").read_text(encoding="utf-8"))
    assert len(names) == 4
    for name in names:
        assert (page / name).stat().st_size < 100_000
        assert re.search(r"<text[^>]*>[a-z ()]+</text>", (page / name).read_text(encoding="utf-8"))


def test_rendering_again_changes_nothing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    data, page = folders
    assert _render(data, tmp_path).returncode == 0
    for path in page.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_wrong_use_is_told(tmp_path: Path) -> None:
    assert _render(tmp_path).returncode == 2
    result = _render(tmp_path, tmp_path / "out")
    assert result.returncode == 1
    assert "lacks anime.csv" in result.stderr
    assert not (tmp_path / "out").exists()


def test_committed_page_has_its_figures_and_no_path_of_a_machine() -> None:
    page = SCRIPT.parent / "README.md"
    text = page.read_text(encoding="utf-8")
    names = re.findall(r"\]\(([^)]+\.svg)\)", text)
    assert names
    assert all((page.parent / name).is_file() for name in names)
    assert str(ROOT) not in text
