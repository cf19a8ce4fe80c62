"""Training of the matrix factorisation in PyTorch; the service never imports this module."""

import copy
import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, embedding, normalize

from recsys.retrieval.decomposition import decompose, weigh
from recsys.retrieval.mf import MatrixFactorisation
from recsys.retrieval.training_log import TrainingLog
from recsys.types import Floats, RatingMatrix

log = logging.getLogger(__name__)

STAGE: Final = "train mf"
POPULARITY_DAMPING: Final = 0.25
# What a cosine is multiplied by, and what is added, before the first step.
FIRST_SCALE: Final = (20.0, -4.0)
# Vectors of so many pairs are 50 MB with what is computed from them; those of all would be the peak of a training.
VALIDATED_AT_ONCE: Final = 16_384


@dataclass(frozen=True)
class Pairs:
    """Users, titles and ratings from 0 to 1, `(n_pairs,)` each."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    ratings: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.users)

    def select(self, chosen: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> "Pairs":
        """Keep some pairs."""
        return Pairs(self.users[chosen], self.items[chosen], self.ratings[chosen])

    def add_unrated(self, n_negatives: int, n_items: int, generator: np.random.Generator) -> "Pairs":
        """Add titles drawn at random with the rating 0; few of them were rated after all."""
        users = np.repeat(self.users, n_negatives)
        drawn = generator.integers(0, n_items, len(users))
        return Pairs(
            np.concatenate([self.users, users]),
            np.concatenate([self.items, drawn]),
            np.concatenate([self.ratings, np.zeros(len(users), dtype=np.float32)]),
        )


class Factors(nn.Module):
    """Vectors of users and titles, and how a cosine becomes a rating."""

    def __init__(self, users: Floats, items: Floats) -> None:
        super().__init__()
        self.users = nn.Parameter(torch.from_numpy(users))
        self.items = nn.Parameter(torch.from_numpy(items))
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Compute the logits of ratings, `(n_pairs,)`."""
        cosines = (normalize(embedding(users, self.users), dim=1) * normalize(embedding(items, self.items), dim=1)).sum(
            dim=1
        )
        return self.scale[0] * cosines + self.scale[1]


def fit_factors(plan: MatrixFactorisation, ratings: RatingMatrix) -> tuple[Floats, TrainingLog]:
    """Train until the validation loss no longer falls, and keep the best weights.

    Returns
    -------
    Unit vectors of the titles, `(n_items, n_factors)`, and the log.
    """
    generator = np.random.default_rng(plan.seed)
    active = np.diff(ratings.indptr) >= plan.min_ratings
    kept = ratings[active] if active.any() else ratings
    entries = kept.tocoo()
    pairs = Pairs(entries.row.astype(np.int64), entries.col.astype(np.int64), (entries.data / 10).astype(np.float32))
    held_out = generator.random(len(pairs)) < plan.validation_share
    train = pairs.select(~held_out)
    validation = pairs.select(held_out).add_unrated(plan.n_negatives, ratings.shape[1], generator)
    known = kept.copy()
    known.data[held_out] = 0.0
    known.eliminate_zeros()
    start = decompose(known, plan.n_factors, popularity_damping=POPULARITY_DAMPING, seed=plan.seed)
    # A user's vector has an own coordinate for what the decomposition does not know.
    users = np.asarray(weigh(known) @ start.embeddings, dtype=np.float32)
    users /= np.maximum(np.linalg.norm(users, axis=1, keepdims=True), 1e-9)
    factors = Factors(users, start.units)
    curves = _train(plan, factors, train, validation, ratings.shape[1], generator)
    vectors = normalize(factors.items.detach(), dim=1).numpy()
    losses = curves["validation_loss"]
    facts = {
        "n_users": float(kept.shape[0]),
        "n_ratings": float(len(train)),
        "best_epoch": float(1 + int(np.argmin(losses))) if losses else 0.0,
    }
    return vectors, TrainingLog(curves, facts)


def _train(
    plan: MatrixFactorisation,
    factors: Factors,
    train: Pairs,
    validation: Pairs,
    n_items: int,
    generator: np.random.Generator,
) -> dict[str, list[float]]:
    curves: dict[str, list[float]] = {
        name: [] for name in ("learning_rate", "loss", "validation_loss", "validation_mae", "validation_mse")
    }
    if not len(train) or not len(validation):
        return curves
    optimiser = torch.optim.Adam(factors.parameters(), lr=plan.learning_rate)
    best = copy.deepcopy(factors.state_dict())
    plan.on_progress(STAGE, 0, plan.n_epochs)
    for epoch in range(1, plan.n_epochs + 1):
        rate = plan.learning_rate * min(epoch / max(plan.warm_up, 1), plan.decay ** max(epoch - plan.warm_up, 0))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = _run_epoch(plan, factors, optimiser, train.add_unrated(plan.n_negatives, n_items, generator), generator)
        found = {"learning_rate": rate, "loss": loss, **_validate(factors, validation)}
        for name, value in found.items():
            curves[name].append(value)
        log.info("%s: epoch %d, %s", STAGE, epoch, ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
        plan.on_progress(STAGE, epoch, plan.n_epochs)
        losses = curves["validation_loss"]
        if losses[-1] <= min(losses):
            best = copy.deepcopy(factors.state_dict())
        elif len(losses) - 1 - int(np.argmin(losses)) >= plan.patience:
            plan.on_progress(STAGE, plan.n_epochs, plan.n_epochs)
            break
    factors.load_state_dict(best)
    return curves


def _run_epoch(
    plan: MatrixFactorisation,
    factors: Factors,
    optimiser: torch.optim.Optimizer,
    pairs: Pairs,
    generator: np.random.Generator,
) -> float:
    order = generator.permutation(len(pairs))
    total, size = 0.0, plan.batch_size * (1 + plan.n_negatives)
    for start in range(0, len(order), size):
        batch = pairs.select(order[start : start + size])
        logits = factors(torch.from_numpy(batch.users), torch.from_numpy(batch.items))
        loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(batch.ratings))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    return total / len(order)


def _validate(factors: Factors, pairs: Pairs) -> dict[str, float]:
    """Compute loss, mean absolute and mean squared error of the held-out ratings and titles that were not rated."""
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for start in range(0, len(pairs), VALIDATED_AT_ONCE):
            part = pairs.select(slice(start, start + VALIDATED_AT_ONCE))
            logits = factors(torch.from_numpy(part.users), torch.from_numpy(part.items))
            ratings = torch.from_numpy(part.ratings)
            errors = torch.sigmoid(logits) - ratings
            loss = binary_cross_entropy_with_logits(logits, ratings, reduction="sum")
            sums += torch.stack([loss, errors.abs().sum(), errors.square().sum()]).to(torch.float64)
    names = ("validation_loss", "validation_mae", "validation_mse")
    return dict(zip(names, (sums / len(pairs)).tolist(), strict=True))
