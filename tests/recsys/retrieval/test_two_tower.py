"""What two towers learn, how they are exported, and that nothing damaged and no PyTorch serves."""

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from recsys.exceptions import ArtifactError, RetrainError
from recsys.features.item_side import normalise_rows
from recsys.retrieval.decomposition import decompose, weigh
from recsys.retrieval.onnx_tower import OnnxTower
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.training_log import TrainingLog
from recsys.retrieval.two_tower import COLD_START, TOWERS, USER, TwoTower, weigh_history
from recsys.types import RatingMatrix
from tests.factories import tiny_world

CATALOG, INTERACTIONS = tiny_world()
RATINGS: RatingMatrix = INTERACTIONS.to_matrix(CATALOG)
SMALL = {"n_factors": 16, "hidden": 16, "n_negatives": 100}


@cache
def fitted() -> TwoTower:
    return TwoTower(**SMALL).fit(RATINGS, CATALOG)  # type: ignore[arg-type]


def history_of(**ratings: float) -> RatingMatrix:
    row = np.zeros((1, len(CATALOG)), dtype=np.float32)
    for position, rating in ratings.items():
        row[0, int(position[1:])] = rating
    return csr_matrix(row)


def test_titles_and_users_are_unit_vectors_and_scores_their_inner_products() -> None:
    model = fitted()
    users = model.embed_users(RATINGS)
    assert model.vectors_ is not None
    for vectors in (users, model.vectors_):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.score(RATINGS), users @ model.vectors_.T, atol=1e-6)


def test_training_lowers_the_loss_and_reports_every_epoch() -> None:
    told: list[tuple[str, int, int]] = []
    model = TwoTower(**SMALL, n_epochs=6, n_cold_epochs=2, on_progress=lambda *news: told.append(news))  # type: ignore[arg-type]
    losses = model.fit(RATINGS, CATALOG).training_.curves
    assert losses["loss"][-1] < losses["loss"][0]
    assert [len(losses[name]) for name in ("loss", "cold_start_loss")] == [6, 2]
    assert told == [
        *(("train two-tower", epoch, 6) for epoch in range(7)),
        *(("train cold-start tower", epoch, 2) for epoch in range(3)),
    ]


def test_the_exported_towers_compute_what_pytorch_does() -> None:
    assert set(fitted().training_.facts) == {f"{tower}_parity" for tower in TOWERS}
    assert all(difference <= 1e-5 for difference in fitted().training_.facts.values())


def test_a_tower_that_differs_from_the_trained_one_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = OnnxTower.run
    monkeypatch.setattr(OnnxTower, "run", lambda tower, **inputs: run(tower, **inputs) + np.float32(1e-4))
    with pytest.raises(RetrainError, match=r"the exported user tower differs from the trained one by 1\.0e-04"):
        TwoTower(**SMALL, n_epochs=1, n_cold_epochs=1).fit(RATINGS, CATALOG)  # type: ignore[arg-type]


def test_up_to_five_titles_go_to_the_tower_of_cold_starts() -> None:
    model = fitted()
    assert model.embeddings_ is not None
    for n_titles, tower in ((1, COLD_START), (5, COLD_START), (6, USER)):
        history = history_of(**{f"p{position}": 8.0 for position in range(n_titles)})
        pooled = np.full((1, n_titles), EVIDENCE[8]) @ model.embeddings_[:n_titles]
        expected = model.towers_[tower].run(pooled=pooled, n_titles=np.array([[n_titles]], dtype=np.float32))
        np.testing.assert_allclose(model.embed_users(history), expected, atol=1e-5)


def test_among_favourites_only_what_is_liked_counts() -> None:
    weights, cold = weigh_history(history_of(p0=9, p1=2, p2=7))
    assert cold.tolist() == [True]
    np.testing.assert_allclose(weights.toarray()[0, :3], [EVIDENCE[9], 0, EVIDENCE[7]])
    np.testing.assert_allclose(weigh_history(history_of(p0=3, p1=2))[0].toarray()[0, :2], EVIDENCE[[3, 2]])
    many = history_of(**{f"p{position}": 2.0 + position for position in range(8)})
    assert weigh_history(many)[0].nnz == 8
    assert not weigh_history(many)[1].any()


def test_a_title_without_ratings_stands_where_its_content_says() -> None:
    """Nobody rated title 9; those of its genre are nearer to it than the others."""
    ratings = RATINGS.tolil()
    ratings[:, 9] = 0
    vectors = TwoTower(**SMALL).fit(ratings.tocsr(), CATALOG).vectors_  # type: ignore[arg-type]
    assert vectors is not None
    fights = np.array(["Action" in genres for genres in CATALOG.items["genres"]])
    alike = np.flatnonzero(fights == fights[9])
    cosines = vectors @ vectors[9]
    assert cosines[alike[alike != 9]].mean() > cosines[fights != fights[9]].mean()


def test_before_training_the_order_is_that_of_the_decomposition() -> None:
    """PureSVD of the dense matrix, computed another way."""
    damping = np.maximum((RATINGS > 0).sum(axis=0).A1, 1) ** 0.25
    start = decompose(RATINGS, 17, popularity_damping=0.25, seed=0)
    axes = np.linalg.svd(weigh(RATINGS).toarray() / damping, full_matrices=False)[2][:16]
    expected = ((weigh(RATINGS) / damping) @ axes.T) @ (axes * damping)
    found = normalise_rows(np.asarray(weigh(RATINGS) @ start.embeddings)) @ start.units.T
    np.testing.assert_allclose(np.linalg.norm(start.units, axis=1), 1, atol=1e-5)
    for one, other in zip(found, expected, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.99


def test_without_any_rating_it_is_fitted_and_says_nothing_wrong() -> None:
    model = TwoTower(**SMALL).fit(RATINGS[:0], CATALOG)  # type: ignore[arg-type]
    assert np.isfinite(model.score(RATINGS[:3])).all()
    assert model.training_.curves == {"loss": [], "cold_start_loss": []}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[: len(content) // 2],
        lambda _: b"",
    ],
    ids=["altered", "truncated", "empty"],
)
@pytest.mark.parametrize("tower", TOWERS)
def test_a_damaged_tower_is_refused_before_onnxruntime_reads_it(
    tower: str, damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted().save(tmp_path)
    path = tmp_path / f"two_tower.{tower}.onnx"
    path.write_bytes(damage(path.read_bytes()))
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ArtifactError, match=rf"two_tower\.{tower}\.onnx was truncated or altered"):
        TwoTower.load(tmp_path)


def test_a_tower_of_another_training_is_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    shutil.copy(tmp_path / f"two_tower.{COLD_START}.onnx", tmp_path / f"two_tower.{USER}.onnx")
    with pytest.raises(ArtifactError, match=r"two_tower\.user\.onnx was truncated or altered"):
        TwoTower.load(tmp_path)


def test_a_log_that_is_none_is_refused(tmp_path: Path) -> None:
    TrainingLog({"loss": [0.5, 0.25]}, {"epochs": 2.0}).save(tmp_path, "one")
    assert TrainingLog.load(tmp_path, "one") == TrainingLog({"loss": [0.5, 0.25]}, {"epochs": 2.0})
    for content in ("[]", '{"curves": {"loss": "much"}, "facts": {}}', '{"curves": {}'):
        (tmp_path / "one.training.json").write_text(content)
        with pytest.raises(ArtifactError, match=r"one\.training\.json cannot be read"):
            TrainingLog.load(tmp_path, "one")


def test_a_serving_process_loads_and_scores_without_pytorch(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    history = RATINGS[3]
    np.savez(tmp_path / "history.npz", indices=history.indices, data=history.data)
    script = """
        import sys
        from pathlib import Path
        import numpy as np
        from scipy.sparse import csr_matrix
        from recsys.retrieval.two_tower import TwoTower

        folder = Path(sys.argv[1])
        model = TwoTower.load(folder)
        with np.load(folder / "history.npz") as known:
            shape = (1, len(model.vectors_))
            history = csr_matrix((known["data"], known["indices"], [0, len(known["data"])]), shape=shape)
        np.save(folder / "scores.npy", model.score(history))
        options = model.towers_["user"].session.get_session_options()
        print(sorted({"torch", "sklearn", "onnx"} & set(sys.modules)), options.intra_op_num_threads)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] 1\n"
    assert np.array_equal(np.load(tmp_path / "scores.npy"), fitted().score(history))
