"""Models that are stored with a version to answer alone."""

from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from recsys.exceptions import ArtifactError, ConfigurationError
from recsys.recommender import Recommender, UserProfile
from recsys.retrieval import standalone
from recsys.retrieval.registry import list_standalone
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import FOLDER, fit_standalone, load_standalone, save_standalone, select_standalone
from recsys.retrieval.tfidf import MetadataTfidf, compute_tfidf
from tests.factories import tiny_recommender, tiny_world


def test_all_are_selected_unless_some_are_named() -> None:
    assert select_standalone() == list_standalone()
    assert select_standalone(()) == ()
    assert [spec.name for spec in select_standalone(["content"])] == ["content"]
    with pytest.raises(ConfigurationError, match=r"there is no standalone model 'ease' .*choose among content"):
        select_standalone(["content", "ease"])


def test_a_version_holds_what_was_fitted_and_answers_from_it(tmp_path: Path) -> None:
    catalog, interactions = tiny_world()
    told: list[tuple[str, int, int]] = []
    models = fit_standalone(
        interactions.to_matrix(catalog),
        catalog,
        select_standalone(["content"]),
        ModelInputs(params={"content": {"synopsis_weight": 0.2}}),
        on_progress=lambda *news: told.append(news),
    )
    assert told == [("fit standalone models", 1, 1)]
    model = tiny_recommender()
    model = replace(model, retriever=replace(model.retriever, standalone=models))
    model.save(tmp_path)
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["content.npz"]
    loaded = Recommender.load(tmp_path)
    history = UserProfile(np.array([1]), np.array([9.0], dtype=np.float32)).to_history(catalog)
    found, other = (one.retriever.get_generator("content").score(history) for one in (loaded, tiny_recommender()))
    assert np.array_equal(found, models["content"].score(history))
    assert not np.array_equal(found, other)


@pytest.mark.parametrize(("most", "at_once"), [(0, 1), (10**9, 2)])
def test_many_ratings_are_fitted_one_model_at_a_time(most: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, interactions = tiny_world()
    running, seen, both = set[int](), list[int](), Barrier(at_once)
    fit = MetadataTfidf.fit

    def watched(self: MetadataTfidf, *arguments: Any) -> MetadataTfidf:
        running.add(id(self))
        both.wait(60)  # for the other one, where there is one
        seen.append(len(running))
        both.wait(60)
        running.discard(id(self))
        return fit(self, *arguments)

    monkeypatch.setattr(MetadataTfidf, "fit", watched)
    monkeypatch.setattr(standalone, "SIDE_BY_SIDE", most)
    (spec,) = select_standalone(["content"])
    fit_standalone(interactions.to_matrix(catalog), catalog, (spec, spec), ModelInputs(), n_threads=2)
    assert seen == [at_once, at_once]


def test_without_standalone_models_a_version_has_no_folder(tmp_path: Path) -> None:
    save_standalone({}, tmp_path)
    assert not list(tmp_path.iterdir())
    assert load_standalone(tmp_path) == {}


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    catalog, interactions = tiny_world()
    save_standalone({"content": MetadataTfidf().fit(interactions.to_matrix(catalog), catalog)}, tmp_path)
    (tmp_path / FOLDER / "content.npz").write_bytes(b"no archive")
    with pytest.raises(ArtifactError, match="content"):
        load_standalone(tmp_path)


def test_rare_terms_weigh_more_and_rows_have_length_one() -> None:
    terms = [["sword", "sword", "school"], ["sword", "school"], ["school"], ["school", "alone"], []]
    found = compute_tfidf(terms, 2, 1.0).toarray()
    sword, school = np.log(5 / 2), np.log(5 / 4)
    expected = np.array([[(1 + np.log(2)) * sword, school], [sword, school], [0, school], [0, school], [0, 0]])
    lengths = np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(found, expected / lengths, rtol=1e-6)
    assert compute_tfidf(terms, 2, 0.5).shape == (5, 1)


def test_a_sequel_is_near_by_its_name() -> None:
    catalog, interactions = tiny_world()
    model = MetadataTfidf().fit(interactions.to_matrix(catalog), catalog)
    one = UserProfile(np.array([1]), np.array([10.0], dtype=np.float32)).to_history(catalog)
    scores = model.score(one)[0]
    scores[0] = -1
    assert catalog.title(int(catalog.item_ids[scores.argmax()])) == "Cowboy Bebop: Tengoku no Tobira"
