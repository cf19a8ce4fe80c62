"""Every name gives a model; tuned hyper-parameters replace defaults; unknown names are told."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.evaluation.baselines import BASELINE_NAMES, Materials, make_baseline, normalise_name
from recsys.exceptions import EvaluationError
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import PUBLISHED_EASE
from recsys.types import Floats
from tests.factories import tiny_world

QUICK = {"als": {"n_factors": 4}, "lightfm": {"n_components": 4, "n_epochs": 1}, "seed004": {"n_epochs": 1}}
QUICK["seed004"] |= {"n_estimators": 3, "n_components": 4}


def vectors() -> Floats:
    return np.random.default_rng(0).normal(size=(len(tiny_world()[0]), 384)).astype(np.float32)


@pytest.mark.parametrize("name", BASELINE_NAMES)
def test_every_baseline_scores_the_whole_catalog(name: str) -> None:
    catalog, interactions = tiny_world()
    ratings = interactions.to_matrix(catalog)
    model = make_baseline(name, Materials(vectors, params=QUICK)).fit(ratings, catalog)
    scores = model.score(ratings[:3])
    assert model.name == name.removesuffix("_extended")
    assert scores.shape == (3, len(catalog))
    assert np.isfinite(scores).all()
    again = type(model).from_state(model.state())
    np.testing.assert_allclose(again.score(ratings[:3]), scores, atol=1e-4)


def test_text_is_asked_for_only_where_it_is_read() -> None:
    def refuse() -> Floats:
        raise AssertionError("nobody needs texts here")

    for name in set(BASELINE_NAMES) - {"text", "seed004"}:
        make_baseline(name, Materials(refuse))


def test_tuned_values_replace_defaults_and_the_seed_is_passed_on() -> None:
    materials = Materials(vectors, seed=5, params={"als": {"alpha": 2.5}, "ease": {"regularisation": 7.0}})
    assert make_baseline("als", materials) == Als(seed=5, alpha=2.5)
    assert make_baseline("ease", materials) == replace(PUBLISHED_EASE, regularisation=7.0)


def test_names_are_read_as_users_write_them() -> None:
    assert normalise_name(" item-kNN ") == "item_knn"
    with pytest.raises(EvaluationError, match="there is no model 'bert'; choose among popular, item_knn"):
        make_baseline("bert", Materials(vectors))
