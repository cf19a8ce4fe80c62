"""Hyper-parameters of the two heads, by preset; logged with every run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from recsys.exceptions import ConfigurationError
from recsys.features.ranking_features import DEFAULT_GROUPS, ORIGINAL_GROUPS

# Losses of the relevance head, and how much a booster of each counts in the mean.
LOSS_WEIGHTS: Final[Mapping[str, float]] = {"lambdarank": 1.0, "binary": 2.0}


@dataclass(frozen=True)
class HeadParams:
    """Parameters of one LightGBM booster, under LightGBM's own names."""

    objective: str
    n_estimators: int
    learning_rate: float
    num_leaves: int
    max_depth: int = -1
    min_data_in_leaf: int = 20
    feature_fraction: float = 1.0
    bagging_fraction: float = 1.0
    bagging_freq: int = 0
    lambda_l2: float = 0.0
    lambdarank_truncation_level: int = 30
    early_stopping_rounds: int = 20

    def to_lightgbm(self, *, seed: int, n_threads: int) -> dict[str, Any]:
        """Translate into LightGBM's `params`, deterministic for a given seed."""
        params = asdict(self)
        for name in ("n_estimators", "early_stopping_rounds"):
            del params[name]
        if self.objective != "lambdarank":
            del params["lambdarank_truncation_level"]
        return params | {
            "seed": seed,
            "num_threads": n_threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True)
class Preset:
    """A whole configuration of the ranker.

    Parameters
    ----------
    groups
        Feature groups of the schema.
    n_per_model
        Candidates taken from each first-stage model.
    n_splits
        How many splits of each training user are used, each with other ratings hidden.
    negative_share
        Share 0..1 of the candidates without a liked target that the relevance head is trained on.
    dropped_rating
        Rating 1..10 that a title counts as which a training user dropped without rating it; None leaves it out. It is
        a target of both heads, and never part of a history: served histories know no such ratings.
    losses, n_boosters
        The relevance head is the mean of so many boosters of each loss, which differ by their seeds. Its other
        parameters are those of `relevance`.
    """

    name: str
    groups: tuple[str, ...]
    n_per_model: int
    n_splits: int
    negative_share: float
    relevance: HeadParams
    rating: HeadParams
    dropped_rating: int | None = None
    losses: tuple[str, ...] = ("lambdarank",)
    n_boosters: int = 1

    def list_members(self) -> tuple[HeadParams, ...]:
        """List the parameters of each booster of the relevance head, the losses in turn."""
        return tuple(replace(self.relevance, objective=loss) for _ in range(self.n_boosters) for loss in self.losses)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Preset":
        """Read back what `dataclasses.asdict` and JSON made of a preset; earlier names of presets are mapped."""
        name = RENAMED_PRESETS.get(stored["name"], stored["name"])
        heads = {name: HeadParams(**stored[name]) for name in ("relevance", "rating")}
        # Recipes from before there were several boosters name no losses.
        losses = tuple(stored.get("losses", (heads["relevance"].objective,)))
        return cls(**{**stored, "name": name, "groups": tuple(stored["groups"]), "losses": losses, **heads})


def _original_head(objective: str) -> HeadParams:
    return HeadParams(
        objective=objective,
        n_estimators=2000,
        learning_rate=0.01,
        num_leaves=2**8 - 1,
        max_depth=8,
        feature_fraction=0.8,
        # As in the original: without a bagging frequency the fraction never acts.
        bagging_fraction=0.8,
        bagging_freq=0,
    )


def _default_head(objective: str) -> HeadParams:
    return HeadParams(
        objective=objective,
        n_estimators=600,
        learning_rate=0.05,
        num_leaves=31,
        min_data_in_leaf=50,
        feature_fraction=0.7,
        lambda_l2=1.0,
        early_stopping_rounds=40,
    )


# Recipes written before a preset was renamed carry its earlier name.
RENAMED_PRESETS: Final[Mapping[str, str]] = {"seed": "original"}

PRESETS: Final[Mapping[str, Preset]] = {
    "default": Preset(
        name="default",
        groups=DEFAULT_GROUPS,
        n_per_model=150,
        n_splits=2,
        negative_share=0.3,
        relevance=_default_head("lambdarank"),
        rating=_default_head("regression"),
        losses=("lambdarank", "binary"),
        n_boosters=2,
    ),
    "original": Preset(
        name="original",
        groups=ORIGINAL_GROUPS,
        n_per_model=150,
        n_splits=1,
        negative_share=1.0,
        relevance=_original_head("lambdarank"),
        rating=_original_head("regression"),
    ),
}


def get_preset(name: str) -> Preset:
    """Look a preset up.

    Raises
    ------
    ConfigurationError
        Names the presets that exist.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
