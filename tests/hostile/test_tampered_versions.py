"""A version whose digest is right and whose files are not: refused, and the process lives."""

import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.metrics import ServiceMetrics
from app.models.attempts import MAX_ATTEMPTS, Attempts
from app.models.local_cache import LocalModelCache
from app.models.production import ProductionModel
from app.models.trial import Trial
from recsys.exceptions import ArtifactError, OtherFormatError
from recsys.recommender import Recommender
from recsys.retrieval.graph_checks import check_graph
from tests.app.harness import FolderSource
from tests.hostile.mutants import run_mutants
from tests.hostile.tampering import TAMPERINGS

PATIENT = Trial(seconds=600, megabytes=1536)


@pytest.fixture
def folder(full_version: Path, tmp_path: Path) -> Path:
    shutil.copytree(full_version, tmp_path / "version")
    return tmp_path / "version"


def test_what_was_saved_is_loaded(folder: Path) -> None:
    assert len(Recommender.load(folder).retriever.standalone) == 3


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_version_is_refused(folder: Path, name: str) -> None:
    TAMPERINGS[name](folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises((ArtifactError, OtherFormatError)):
        Recommender.load(folder)

    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1 << 20, "more than a gigabyte was taken before the version was refused"


def change_graph(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return damage


def _set(place: int, value: int, width: int = 4) -> Callable[[Path], None]:
    part = slice(place, place + width)
    return change_graph(lambda content: content.__setitem__(part, value.to_bytes(width, "little")))


@pytest.mark.parametrize(
    "damage",
    [
        _set(100, 2**31),  # the first link of the first point
        _set(96, 60_000, 2),  # how many links it has
        _set(16, 2**40, 8),  # how many points there are
        _set(24, 8, 8),  # the size of a point
        _set(52, 10**6),  # where a search begins
        _set(48, 40),  # the highest level
        change_graph(lambda content: content.__delitem__(slice(len(content) - 3, None))),
        change_graph(lambda content: content.extend(b"more")),
    ],
)
def test_a_graph_whose_links_lead_out_of_it_is_refused(folder: Path, damage: Callable[[Path], None]) -> None:
    model = Recommender.load(folder).retriever.standalone["user_user"]
    path = folder / "standalone" / "user_user.hnsw"
    shape = {"n_points": len(model._index), "n_dimensions": model._projection.shape[1]}  # type: ignore[attr-defined]
    check_graph(path, **shape)
    damage(path)

    with pytest.raises(ArtifactError, match=r"user_user\.hnsw"):
        check_graph(path, **shape)


def test_no_mutant_ends_the_process(full_version: Path) -> None:
    outcomes, ended = run_mutants(full_version, 150)

    assert ended == []
    assert sum(outcomes.values()) == 150
    assert outcomes["ArtifactError"] > 50
    assert "MemoryError" not in outcomes


@pytest.mark.e2e
@pytest.mark.timeout(7200)
def test_no_mutant_of_twenty_thousand_ends_the_process(full_version: Path) -> None:
    outcomes, ended = run_mutants(full_version, 20_000)

    assert ended == []
    assert sum(outcomes.values()) == 20_000


def leave_a_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let processes that are started from here run a program first: the crash that no check foresees."""
    (tmp_path / "hole").mkdir()
    (tmp_path / "hole" / "sitecustomize.py").write_text(program)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "hole"), *sys.path])


def test_a_version_passes_its_trial(model_folders: dict[int, Path]) -> None:
    PATIENT.run(model_folders[1])


def test_a_trial_says_why_a_version_is_refused(folder: Path) -> None:
    TAMPERINGS["no trees an iteration"](folder)

    with pytest.raises(ArtifactError, match=r"relevance\.lgb\.txt is no LightGBM model"):
        PATIENT.run(folder)


def test_what_crashes_or_takes_for_ever_does_so_in_the_trial(
    source: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    production = ProductionModel(source, "anime", ServiceMetrics(), LocalModelCache(tmp_path / "models"))
    production.refresh()
    leave_a_hole(tmp_path, monkeypatch, "import ctypes; ctypes.string_at(0)")
    guarded = ProductionModel(
        source, "anime", ServiceMetrics(), LocalModelCache(tmp_path / "models"), trial=Trial(600, 1536)
    )
    source.production = 2
    assert guarded.refresh()  # the last good one, which needs no trial

    assert guarded.current.version == 1
    assert guarded.problems == ["version 2 is refused"]
    assert "SIGSEGV" in caplog.text
    (tmp_path / "hole" / "sitecustomize.py").write_text("while True: pass")
    with pytest.raises(ArtifactError, match=r"not ended after 2\.5 s"):
        Trial(0.5, 1536).run(source.folders[2])


def test_time_of_a_trial_is_that_of_its_processor(
    model_folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.models.trial._PATIENCE", 300)
    leave_a_hole(tmp_path, monkeypatch, "")
    # Instead of what compiles the kernels of forests, after the limits are set.
    (tmp_path / "hole" / "numba.py").write_text("while True: pass")
    with pytest.raises(ArtifactError, match="more than 1 s of processor time"):
        Trial(1, 1536).run(model_folders[1])
    (tmp_path / "hole" / "sitecustomize.py").write_text("import os, time; time.sleep(1.5); os._exit(0)")
    Trial(1, 1536).run(model_folders[1])


def test_a_trial_yields_to_what_serves_and_to_nobody_while_nothing_serves(
    model_folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_hole(tmp_path, monkeypatch, "")
    (tmp_path / "hole" / "numba.py").write_text("import os; os._exit(100 + os.nice(0))")
    for yields, niceness in ((False, os.nice(0)), (True, min(os.nice(0) + 10, 19))):
        with pytest.raises(ArtifactError, match=f"ended with code {100 + niceness}$"):
            PATIENT.run(model_folders[1], yields=yields)


def test_memory_of_a_trial_is_limited(model_folders: dict[int, Path]) -> None:
    with pytest.raises(ArtifactError, match="a trial of it ended"):
        Trial(600, 64).run(model_folders[1])


def test_credentials_do_not_reach_a_trial(
    model_folders: dict[int, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    told = tmp_path / "told.txt"
    leave_a_hole(tmp_path, monkeypatch, f"import os; open({str(told)!r}, 'w').write(' '.join(os.environ)); os._exit(0)")

    Trial(600, 1536).run(model_folders[1])

    assert {"PATH", "OPENBLAS_CORETYPE"} <= set(told.read_text().split())
    assert "AWS_SECRET_ACCESS_KEY" not in told.read_text()


def note_a_crash(directory: Path, version: int, number: int) -> None:
    """Leave what a process leaves that ended while it loaded a version."""
    directory.mkdir(parents=True, exist_ok=True)
    note = f'{{"version": {version}, "digest": "", "number": {number}}}'
    (directory / "loading-4194305.json").write_text(note)  # more than any process id


def test_after_a_crash_the_last_good_version_serves_first(source: FolderSource, tmp_path: Path) -> None:
    cache = tmp_path / "models"
    ProductionModel(source, "anime", ServiceMetrics(), LocalModelCache(cache)).refresh()
    note_a_crash(cache, 2, 1)
    source.production = 2
    production = ProductionModel(source, "anime", ServiceMetrics(), LocalModelCache(cache))

    assert production.refresh(clock=lambda: 0.0)
    assert production.current.version == 1
    assert production.problems == ["version 2 is refused"]
    assert production.refresh(clock=lambda: 100.0)  # once more: the machine may have been to blame
    assert production.current.version == 2
    assert list(cache.glob("loading-*")) == []


def test_a_version_that_ended_the_process_again_and_again_is_left_alone(source: FolderSource, tmp_path: Path) -> None:
    cache = tmp_path / "models"
    note_a_crash(cache, 1, MAX_ATTEMPTS)
    production = ProductionModel(source, "anime", ServiceMetrics(), LocalModelCache(cache))

    assert not any(production.refresh(clock=lambda now=float(now): now) for now in range(0, 1000, 50))
    assert source.downloads == []
    source.production = 2
    assert production.refresh()
    source.production = 1
    assert production.refresh(clock=lambda: 2000.0), "another version was loaded since, so the notes are gone"


def test_attempts_of_a_living_process_and_an_orderly_end_do_not_count(tmp_path: Path) -> None:
    attempts, others = (Attempts(lambda: tmp_path) for _ in range(2))
    (tmp_path / "loading-1.json").write_text('{"version": 7, "digest": "d", "number": 2}')
    assert others.count_ended(7, "d") == 0
    attempts.begin(7, "d")
    assert others.count_ended(7, "d") == 1  # as a process of the same id finds it: the first of a container has 1
    attempts.end()
    assert others.count_ended(7, "d") == 0


def test_whatever_stands_in_a_note_is_no_error(tmp_path: Path) -> None:
    for number, text in enumerate(["", "[]", '{"version": "x"}', '{"version": 1, "digest": 2, "number": null}']):
        (tmp_path / f"loading-419430{number}.json").write_text(text)
    assert Attempts(lambda: tmp_path).count_ended(1, "2") == 0
    Attempts(lambda: None).begin(1, "")
