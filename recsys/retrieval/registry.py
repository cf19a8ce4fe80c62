"""Every single model of the platform, declared once.

The first stage, `otaku evaluate --models`, tuning, the API field `algorithm`, the demo and the contract tests read
`MODELS`; nothing else names models one by one. The order is that of first-stage features and of printed lists.
"""

from collections.abc import Sequence
from typing import Final

from recsys.exceptions import EvaluationError
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.content import GenreTfidf, TextProfile
from recsys.retrieval.ease_mixture import EaseMixture
from recsys.retrieval.embedding import Als, LightFm
from recsys.retrieval.hybrid import Hybrid
from recsys.retrieval.item_item import PUBLISHED_EASE, Ease, ItemKnn
from recsys.retrieval.mf import MatrixFactorisation
from recsys.retrieval.original import OriginalPipeline
from recsys.retrieval.popular import MostMembers, Popular
from recsys.retrieval.spec import ModelInputs, ModelSpec, Range, normalise_name
from recsys.retrieval.tfidf import MetadataTfidf
from recsys.retrieval.two_tower import TwoTower
from recsys.retrieval.user_user import UserUser

_EASE_SPACE: Final = {"regularisation": Range(5.0, 2000.0, True), "n_kept": Range(50, 1000, True)}
_EXTENSIONS: Final = {
    "franchise_weight": Range(1.0, 200.0, True),
    "dropout": Range(0.0, 0.5),
    "discount": Range(0.0, 1.0),
}

MODELS: tuple[ModelSpec, ...] = (
    # In a version `ease` is the mixture of extended forms; among the baselines it is the published one.
    ModelSpec(
        "ease-mixture",
        EaseMixture(),
        algorithm="ease",
        first_stage=True,
        space=_EASE_SPACE | _EXTENSIONS | {"exponent": Range(0.0, 0.3), "centring": Range(0.0, 1.0)},
    ),
    ModelSpec(
        "als",
        Als(),
        algorithm="als",
        needs=("seed",),
        first_stage=True,
        space={
            "n_factors": Range(64, 256, step=32),
            "regularisation": Range(0.1, 200.0, True),
            "alpha": Range(0.5, 50.0, True),
        },
    ),
    ModelSpec(
        "item-knn",
        ItemKnn(),
        algorithm="item-knn",
        first_stage=True,
        space={"n_kept": Range(10, 500, True), "shrinkage": Range(0.5, 500.0, True)},
    ),
    # Proposes nothing: its best titles lengthened the lists of candidates by a sixth and their recall by half a point
    # on MyAnimeList.
    ModelSpec(
        "lightfm",
        LightFm(),
        algorithm="lightfm",
        needs=("seed",),
        first_stage=True,
        proposes=False,
        item_vectors=True,
        space={
            "n_components": Range(32, 128, step=32),
            "n_epochs": Range(5, 40, step=5),
            "unseen_weight": Range(0.001, 0.1, True),
            "regularisation": Range(1.0, 100.0, True),
        },
    ),
    ModelSpec(
        "content",
        MetadataTfidf(),
        aliases=("tfidf",),
        algorithm="content",
        reads_ratings=False,
        standalone=True,
        space={"name_weight": Range(0.1, 3.0, True), "synopsis_weight": Range(0.1, 5.0, True)},
    ),
    ModelSpec("content-genre", GenreTfidf(), aliases=("genre",), algorithm="content-genre", reads_ratings=False),
    ModelSpec(
        "synopsis",
        TextProfile(),
        aliases=("text",),
        algorithm="synopsis",
        needs=("text_vectors",),
        reads_ratings=False,
    ),
    ModelSpec(
        "two-tower",
        TwoTower(),
        algorithm="two-tower",
        needs=("text_vectors", "seed", "on_progress"),
        standalone=True,
        loads=("torch",),
        space={
            "learning_rate": Range(2e-4, 1e-2, True),
            "temperature": Range(0.01, 0.1, True),
            "popularity_damping": Range(0.0, 0.5),
            "negative_power": Range(0.0, 1.0),
        },
    ),
    ModelSpec(
        "mf",
        MatrixFactorisation(),
        algorithm="mf",
        needs=("seed", "on_progress"),
        standalone=True,
        loads=("torch",),
        space={
            "learning_rate": Range(2e-4, 1e-2, True),
            "n_negatives": Range(1, 8),
            "unseen_weight": Range(0.01, 1.0, True),
            "regularisation": Range(0.3, 100.0, True),
        },
    ),
    ModelSpec("popular", Popular(), first_stage=True, fallback=True),
    # The most members on MyAnimeList are what users of the service know as popular; training users are fewer.
    ModelSpec("most-members", MostMembers(), algorithm="popular", reads_ratings=False),
    ModelSpec("ease", PUBLISHED_EASE, space=_EASE_SPACE),
    ModelSpec("ease-extended", Ease(), space=_EASE_SPACE | _EXTENSIONS),
    ModelSpec(
        "user-user",
        UserUser(),
        algorithm="user-user",
        standalone=True,
        space={
            "n_neighbours": Range(30, 200, True),
            "rarity": Range(0.0, 0.5),
            "sharpness": Range(0.5, 4.0),
            "damping": Range(0.0, 0.6),
        },
    ),
    ModelSpec(
        "hybrid",
        Hybrid(),
        algorithm="hybrid",
        standalone=True,
        space={"title_weight": Range(0.01, 1.0, True), "content_weight": Range(0.05, 2.0, True)},
    ),
    # A tenth of the original's epochs, trees and ratings, so that a weekly training has the time and a list takes
    # milliseconds; `otaku retrain --preset original` trains all of it as the heads of a version.
    ModelSpec(
        "original",
        OriginalPipeline(n_epochs=10, n_estimators=100, learning_rate=0.1, n_rows=100_000),
        aliases=("seed004",),
        algorithm="original",
        needs=("text_vectors", "n_threads"),
        standalone=True,
    ),
)


def list_names() -> tuple[str, ...]:
    """List the public names."""
    return tuple(spec.name for spec in MODELS)


def list_algorithms() -> tuple[str, ...]:
    """List the names under which models answer alone."""
    return tuple(spec.algorithm for spec in MODELS if spec.algorithm is not None)


def list_first_stage() -> tuple[ModelSpec, ...]:
    """List the models of the first stage."""
    return tuple(spec for spec in MODELS if spec.first_stage)


def list_standalone() -> tuple[ModelSpec, ...]:
    """List the models that are stored with each version to answer alone."""
    return tuple(spec for spec in MODELS if spec.standalone)


def get_spec(name: str) -> ModelSpec:
    """Look a model up by its public name or an alias.

    Raises
    ------
    EvaluationError
        Names the models that exist.
    """
    spelled = normalise_name(name)
    found = next((spec for spec in MODELS if spelled in spec.names), None)
    if found is None:
        raise EvaluationError(f"there is no model {name!r}; choose among {', '.join(list_names())}")
    return found


def find_spec(key: str) -> ModelSpec | None:
    """Find the declaration of a model by its name within a version; a first-stage model goes first."""
    return next((spec for spec in sorted(MODELS, key=lambda spec: not spec.first_stage) if spec.key == key), None)


def make_model(name: str, inputs: ModelInputs) -> CandidateGenerator:
    """Return an unfitted model by its public name.

    Raises
    ------
    EvaluationError
        Names the models that exist.
    """
    return get_spec(name).make(inputs)


def make_first_stage(inputs: ModelInputs) -> Sequence[CandidateGenerator]:
    """Return the unfitted models of the first stage."""
    return [spec.make(inputs) for spec in list_first_stage()]
