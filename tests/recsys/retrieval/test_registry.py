"""Names, capabilities and search spaces of the declared models."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from recsys.exceptions import EvaluationError
from recsys.retrieval.embedding import Als
from recsys.retrieval.item_item import PUBLISHED_EASE, Ease
from recsys.retrieval.registry import (
    MODELS,
    find_spec,
    get_spec,
    list_algorithms,
    list_first_stage,
    list_names,
    make_first_stage,
    make_model,
)
from recsys.retrieval.spec import ModelInputs, ModelSpec, normalise_name
from recsys.types import Floats

IDS = [spec.name for spec in MODELS]


def vectors() -> Floats:
    return np.ones((3, 384), dtype=np.float32)


def test_no_name_means_two_models() -> None:
    names = Counter(name for spec in MODELS for name in spec.names)
    assert set(names.values()) == {1}
    assert all(name == normalise_name(name) for name in names)
    assert len(set(list_algorithms())) == len(list_algorithms())
    keys = Counter(spec.key for spec in list_first_stage())
    assert set(keys.values()) == {1}
    assert all(key.replace("_", "").isalpha() and key.islower() for key in keys)


def test_the_first_stage_has_one_fallback_and_one_set_of_item_vectors() -> None:
    assert [spec.name for spec in list_first_stage() if spec.fallback] == ["popular"]
    assert [spec.name for spec in list_first_stage() if spec.item_vectors] == ["lightfm"]
    assert not [spec.name for spec in MODELS if (spec.fallback or spec.item_vectors) and not spec.first_stage]


def test_a_model_that_answers_alone_is_in_every_version() -> None:
    answering = [spec for spec in MODELS if spec.algorithm is not None]
    assert all(spec.first_stage or spec.standalone or not spec.reads_ratings for spec in answering)


@pytest.mark.parametrize("spec", MODELS, ids=IDS)
def test_defaults_lie_inside_what_is_searched(spec: ModelSpec) -> None:
    for key, bounds in spec.space.items():
        value = getattr(spec.unfitted, key)
        assert bounds.low <= value <= bounds.high, key
        if isinstance(bounds.low, int) and not bounds.log:
            assert (value - bounds.low) % bounds.step == 0, key


@pytest.mark.parametrize("spec", MODELS, ids=IDS)
def test_text_vectors_are_read_only_where_they_are_needed(spec: ModelSpec) -> None:
    if "text_vectors" not in spec.needs:
        spec.make(ModelInputs())
        return
    with pytest.raises(EvaluationError, match="needs text vectors and none were given"):
        spec.make(ModelInputs())
    assert spec.make(ModelInputs(vectors)).text_vectors is not None  # type: ignore[attr-defined]


def test_tuned_values_replace_defaults_and_the_seed_is_passed_on() -> None:
    inputs = ModelInputs(vectors, seed=5, params={"als": {"alpha": 2.5}, "ease": {"regularisation": 7.0}})
    assert make_model("als", inputs) == Als(seed=5, alpha=2.5)
    assert make_model("ease", inputs) == replace(PUBLISHED_EASE, regularisation=7.0)
    assert make_model("ease-extended", inputs) == Ease()
    assert make_first_stage(ModelInputs(seed=5))[1] == Als(seed=5)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (" item-kNN ", "item-knn"),
        ("item_knn", "item-knn"),
        ("text", "synopsis"),
        ("genre", "content-genre"),
        ("seed004", "original"),
        ("ease_extended", "ease-extended"),
    ],
)
def test_names_are_read_as_users_write_them(given: str, name: str) -> None:
    assert get_spec(given).name == name
    assert get_spec(given).select_params({given: {"seed": 3}}) == {"seed": 3}


def test_unknown_names_are_listed_with_those_that_exist() -> None:
    with pytest.raises(EvaluationError, match="there is no model 'bert'; choose among ease-mixture, als, item-knn"):
        get_spec("bert")
    assert set(list_names()) >= {"ease", "als", "item-knn", "lightfm", "content", "content-genre", "popular"}


def test_a_version_holds_the_mixture_under_a_short_name() -> None:
    assert find_spec("ease") is get_spec("ease-mixture")
    assert find_spec("bert") is None
