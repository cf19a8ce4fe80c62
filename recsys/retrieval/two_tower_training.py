"""Training of the two-tower model in PyTorch; the service never imports this module.

Sources: Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009), for the pairwise loss;
Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations" (RecSys 2019), for the
correction by popularity.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize, softplus

from recsys.data.catalog import Catalog
from recsys.data.interactions import POSITIVE_RATING
from recsys.exceptions import RetrainError
from recsys.features.item_features import compute_item_features
from recsys.retrieval.decomposition import decompose
from recsys.retrieval.onnx_tower import OnnxTower
from recsys.retrieval.rating_sums import EVIDENCE
from recsys.retrieval.training_log import TrainingLog
from recsys.retrieval.two_tower import COLD_START, ITEM, MAX_FAVOURITES, USER, FittedTowers, TwoTower, weigh_history
from recsys.types import Floats, Mask, RatingMatrix

log = logging.getLogger(__name__)

# Principal components of the synopses that the item tower reads.
N_TEXT: Final = 64
# Histories on which exported and trained towers are compared, and by how much they may differ.
N_COMPARED: Final = 64
TOLERANCE: Final = 1e-5
# Of the steps the share in which the learning rate rises; its schedule needs a few steps at least.
WARM_UP: Final = 0.1
MIN_STEPS: Final = 20
OPSET: Final = 17
# What stands for minus infinity: a title that the user has watched is no negative.
WATCHED: Final = -1e4
RIDGE: Final = 1.0


class ItemTower(nn.Module):
    """From content (genres, metadata, synopsis) and what ratings add to it to a unit vector."""

    def __init__(self, n_content: int, n_factors: int) -> None:
        super().__init__()
        self.content = nn.Linear(n_content, n_factors, bias=False)

    def forward(self, content: Tensor, own: Tensor) -> Tensor:
        """Embed titles: content `(n, n_content)`, learned parts `(n, n_factors)`."""
        return normalize(self.content(content) + own, dim=1)


class UserTower(nn.Module):
    """From the pooled embeddings of a history to a unit vector: the pool itself, corrected by a perceptron."""

    def __init__(self, n_factors: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n_factors + 1, hidden)
        self.outer = nn.Linear(hidden, n_factors)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, pooled: Tensor, n_titles: Tensor) -> Tensor:
        """Embed users: pooled embeddings `(n, n_factors)`, lengths of their histories `(n, 1)`."""
        direction = normalize(pooled, dim=1)
        described = torch.cat([direction, torch.log1p(n_titles) / 5], dim=1)
        return normalize(direction + self.outer(torch.relu(self.inner(described))), dim=1)


class Towers(nn.Module):
    """Everything that is trained."""

    def __init__(self, ratings: RatingMatrix, content: Floats, plan: TwoTower) -> None:
        super().__init__()
        self.features = torch.from_numpy(content)
        self.items = ItemTower(content.shape[1], plan.n_factors)
        self.users = UserTower(plan.n_factors, plan.hidden)
        self.cold_users = UserTower(plan.n_factors, plan.hidden)
        self.log_scale = nn.Parameter(torch.tensor(-np.log(plan.temperature), dtype=torch.float32))
        start = decompose(ratings, plan.n_factors, popularity_damping=plan.popularity_damping, seed=plan.seed)
        n_ratings = np.bincount(ratings.indices, minlength=ratings.shape[1])
        weights = _regress(content, start.units, np.sqrt(n_ratings + 1.0))
        # A title without ratings is what its content says, and nothing else.
        own = np.where(n_ratings[:, np.newaxis] > 0, start.units - content @ weights, 0.0)
        self.own = nn.Parameter(torch.from_numpy(own.astype(np.float32)))
        self.embeddings = nn.Parameter(torch.from_numpy(start.embeddings))
        with torch.no_grad():
            self.items.content.weight.copy_(torch.from_numpy(weights.T.astype(np.float32)))

    def embed_items(self, positions: Tensor | None = None) -> Tensor:
        """Embed some titles, or all."""
        chosen = slice(None) if positions is None else positions
        vectors: Tensor = self.items(self.features[chosen], self.own[chosen])
        return vectors

    def embed_users(self, histories: "Histories", tower: UserTower) -> Tensor:
        """Embed a batch of histories."""
        pooled = embedding_bag(
            histories.columns, self.embeddings, histories.starts, mode="sum", per_sample_weights=histories.weights
        )
        vectors: Tensor = tower(pooled, histories.lengths)
        return vectors


def _regress(content: Floats, targets: Floats, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Predict vectors from content by a weighted ridge regression, `(n_content, n_factors)`."""
    weighted = content * weights[:, np.newaxis]
    gram = weighted.T @ content + RIDGE * np.eye(content.shape[1])
    return np.asarray(np.linalg.solve(gram, weighted.T @ targets))


@dataclass(frozen=True)
class Histories:
    """Histories of a batch one after another: titles, weights, where each begins and how many titles it has."""

    columns: Tensor
    weights: Tensor
    starts: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Batch:
    """Histories, the likes that were hidden from them, and everything that was watched."""

    histories: Histories
    target_rows: npt.NDArray[np.int64]
    target_columns: npt.NDArray[np.int64]
    watched: RatingMatrix


# From all that was watched to what stays in the histories and what becomes a target, by stored entry.
Hide: TypeAlias = Callable[[np.random.Generator, RatingMatrix], tuple[Mask, Mask]]


def hide_part(generator: np.random.Generator, watched: RatingMatrix) -> tuple[Mask, Mask]:
    """Hide a random part of each history, between a tenth and seven tenths; the likes of it are the targets."""
    entries = watched.tocoo()
    kept = generator.random(entries.nnz) < generator.uniform(0.3, 0.9, watched.shape[0])[entries.row]
    return kept, ~kept & (entries.data >= POSITIVE_RATING)


def keep_favourites(generator: np.random.Generator, watched: RatingMatrix) -> tuple[Mask, Mask]:
    """Keep one to five likes of each history; the other likes are the targets."""
    entries = watched.tocoo()
    liked = entries.data >= POSITIVE_RATING
    order = np.lexsort((generator.random(entries.nnz), ~liked, entries.row))
    place = np.empty(entries.nnz, dtype=np.int64)
    place[order] = np.arange(entries.nnz) - np.repeat(watched.indptr[:-1], np.diff(watched.indptr))
    kept = liked & (place < generator.integers(1, MAX_FAVOURITES + 1, watched.shape[0])[entries.row])
    return kept, ~kept & liked


def draw_batches(ratings: RatingMatrix, generator: np.random.Generator, size: int, hide: Hide) -> Iterator[Batch]:
    """Go through all users in random order."""
    order = generator.permutation(ratings.shape[0])
    for start in range(0, len(order), size):
        watched = ratings[order[start : start + size]]
        kept, targets = hide(generator, watched)
        entries = watched.tocoo()
        rows, columns = entries.row.astype(np.int64), entries.col.astype(np.int64)
        lengths = np.bincount(rows[kept], minlength=watched.shape[0])
        histories = Histories(
            torch.from_numpy(columns[kept]),
            torch.from_numpy(EVIDENCE[np.rint(entries.data[kept]).astype(np.intp)]),
            torch.from_numpy(np.cumsum(lengths) - lengths),
            torch.from_numpy(lengths.astype(np.float32)[:, np.newaxis]),
        )
        yield Batch(histories, rows[targets], columns[targets], watched)


def compute_loss(
    towers: Towers,
    users: Tensor,
    batch: Batch,
    negatives: npt.NDArray[np.int64],
    log_expected: Floats,
    frozen: Tensor | None = None,
) -> Tensor:
    """Compute the pairwise loss of hidden likes against sampled titles.

    BPR's `-log sigmoid(s_liked - s_other)`, with the soft maximum over many sampled titles in the place of one; the
    score of each is corrected by how often it is expected in the sample. Every user has the same weight.

    Parameters
    ----------
    negatives
        Sampled titles, unique.
    log_expected
        Logarithm of the expected number of each title in a sample, `(n_items,)`.
    frozen
        Unit vectors of all titles where they are not trained.
    """
    titles = np.union1d(negatives, batch.target_columns)
    chosen = torch.from_numpy(titles)
    vectors = towers.embed_items(chosen) if frozen is None else frozen[chosen]
    scores = towers.log_scale.exp() * (users @ vectors.T)
    sampled = torch.from_numpy(np.isin(titles, negatives, assume_unique=True))
    correction = torch.from_numpy(np.maximum(log_expected[titles], 0.0))
    hidden = torch.from_numpy(batch.watched[:, titles].toarray() > 0) | ~sampled
    others = torch.logsumexp((scores - correction).masked_fill(hidden, WATCHED), dim=1)
    rows = torch.from_numpy(batch.target_rows)
    liked = scores[rows, torch.from_numpy(np.searchsorted(titles, batch.target_columns))]
    n_targets = np.bincount(batch.target_rows, minlength=users.shape[0])
    weights = torch.from_numpy((1 / n_targets[batch.target_rows]).astype(np.float32))
    return (softplus(others[rows] - liked) * weights).sum() / max(int((n_targets > 0).sum()), 1)


def train(towers: Towers, ratings: RatingMatrix, plan: TwoTower, *, cold: bool = False) -> list[float]:
    """Train both towers, or the cold-start tower alone on top of them; return the loss of each epoch."""
    n_epochs = plan.n_cold_epochs if cold else plan.n_epochs
    stage = "train cold-start tower" if cold else "train two-tower"
    parameters = list(towers.cold_users.parameters()) if cold else list(towers.parameters())
    generator = np.random.default_rng((plan.seed, cold))
    n_likes = np.bincount(ratings.indices[ratings.data >= POSITIVE_RATING], minlength=ratings.shape[1])
    shares = (n_likes + 1.0) ** plan.negative_power
    shares /= shares.sum()
    log_expected = np.log(shares * plan.n_negatives).astype(np.float32)
    steps = n_epochs * -(-ratings.shape[0] // plan.batch_size)
    if not steps or not n_likes.any():
        return []
    optimiser = torch.optim.Adam(parameters, lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.learning_rate, total_steps=max(steps, MIN_STEPS), pct_start=WARM_UP
    )
    with torch.no_grad():
        frozen = towers.embed_items() if cold else None
    tower, hide = (towers.cold_users, keep_favourites) if cold else (towers.users, hide_part)
    losses = []
    plan.on_progress(stage, 0, n_epochs)
    for epoch in range(1, n_epochs + 1):
        batches = []
        for batch in draw_batches(ratings, generator, plan.batch_size, hide):
            if not len(batch.target_rows):
                continue
            negatives = np.unique(generator.choice(len(shares), plan.n_negatives, p=shares))
            users = towers.embed_users(batch.histories, tower)
            loss = compute_loss(towers, users, batch, negatives, log_expected, frozen)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            batches.append(float(loss.detach()))
        losses.append(float(np.mean(batches)) if batches else 0.0)
        log.info("%s: epoch %d of %d, loss %.4f", stage, epoch, n_epochs, losses[-1])
        plan.on_progress(stage, epoch, n_epochs)
    return losses


def describe_content(catalog: Catalog, text_vectors: Floats | None) -> Floats:
    """Describe titles by genres, metadata and the principal components of their synopses, `(n_items, n_content)`."""
    content = compute_item_features(catalog).values.toarray()
    if text_vectors is not None:
        centred = text_vectors - text_vectors.mean(axis=0)
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :N_TEXT]
        content = np.hstack([content, centred @ axes])
    return np.asarray(content, dtype=np.float32)


def fit_two_tower(plan: TwoTower, ratings: RatingMatrix, catalog: Catalog) -> FittedTowers:
    """Train and export the towers, and compare what onnxruntime computes with what PyTorch does.

    Raises
    ------
    RetrainError
        If an exported tower differs from the trained one by more than 1e-5.
    """
    content = describe_content(catalog, plan.text_vectors)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(plan.seed)
        towers = Towers(ratings, content, plan)
    losses = train(towers, ratings, plan)
    towers.cold_users.load_state_dict(towers.users.state_dict())
    cold_losses = train(towers, ratings, plan, cold=True)
    towers.eval()
    own = towers.own.detach()
    histories = pool(towers, ratings[:N_COMPARED])
    examples = {
        USER: (towers.users, {"pooled": histories[0], "n_titles": histories[1]}),
        COLD_START: (towers.cold_users, {"pooled": histories[0], "n_titles": histories[1]}),
        ITEM: (towers.items, {"content": towers.features, "own": own}),
    }
    exported = {name: export(tower, inputs) for name, (tower, inputs) in examples.items()}
    parity = {name: compare(tower, exported[name], inputs) for name, (tower, inputs) in examples.items()}
    for name, difference in parity.items():
        log.info("two-tower: onnxruntime and PyTorch differ by %.1e at most in the %s tower", difference, name)
        if difference > TOLERANCE:
            raise RetrainError(f"the exported {name} tower differs from the trained one by {difference:.1e}")
    return FittedTowers(
        exported[ITEM].run(content=content, own=own.numpy()),
        towers.embeddings.detach().numpy(),
        exported,
        TrainingLog(
            {"loss": losses, "cold_start_loss": cold_losses},
            {f"{name}_parity": difference for name, difference in parity.items()},
        ),
    )


def pool(towers: Towers, ratings: RatingMatrix) -> tuple[Tensor, Tensor]:
    """Pool histories as the service does: sums of embeddings `(n, n_factors)` and numbers of titles `(n, 1)`."""
    weights = weigh_history(ratings)[0]
    pooled = np.asarray(weights @ towers.embeddings.detach().numpy(), dtype=np.float32)
    return torch.from_numpy(pooled), torch.from_numpy(np.diff(weights.indptr).astype(np.float32)[:, np.newaxis])


def export(module: nn.Module, inputs: Mapping[str, Tensor]) -> OnnxTower:
    """Export a tower whose inputs share their first dimension, which is left open."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter on TorchScript: its successor takes 13 seconds and two more packages for the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            tuple(values[:2] for values in inputs.values()),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["vectors"],
            dynamic_axes={name: {0: "n"} for name in inputs},
        )
    return OnnxTower(buffer.getvalue())


def compare(module: nn.Module, exported: OnnxTower, inputs: Mapping[str, Tensor]) -> float:
    """Compute the largest difference between what onnxruntime and what PyTorch compute."""
    with torch.no_grad():
        expected = module(*inputs.values()).numpy()
    found = exported.run(**{name: values.numpy() for name, values in inputs.items()})
    return float(np.abs(found - expected).max(initial=0.0))
