"""The fitting half of a retraining: snapshot, embed_text, fit_retrieval, train_ranker."""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from recsys.data.catalog import Catalog
from recsys.data.splits import TRAIN, select_group
from recsys.data.watch_statuses import select_dropped
from recsys.exceptions import RetrainError
from recsys.features.text_embeddings import load_encoder, select_synopses
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.memory import read_memory
from recsys.recommender.fitting import FittedRecommender, train_recommender
from recsys.recommender.golden import write_golden_requests
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.base import CandidateGenerator, read_state, sparse_from_state, sparse_to_state, write_state
from recsys.retrieval.first_stage import FirstStage, cross_fit
from recsys.retrieval.registry import list_first_stage, make_first_stage
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import fit_standalone, load_standalone, save_standalone, select_standalone
from recsys.storage.snapshots import PREFIX as SNAPSHOTS
from recsys.storage.snapshots import Snapshot, read_snapshot, write_snapshot
from recsys.types import Floats, Ids, RatingMatrix
from retrain_model.attempts import describe_attempt, find_verdict
from retrain_model.context import DRY_RUNS, RetrainContext, fetch, publish_once, read_step_digest
from retrain_model.days import require_finished_day
from retrain_model.environment import describe_environment
from retrain_model.evidence import ENVIRONMENT, TRAINING
from retrain_model.memory_needs import GIB, predict_needs, read_last_peaks
from retrain_model.steps.on_cluster import open_partitions, read_workers
from retrain_model.text_cache import load_text_vectors

FULL = "full"

logger = logging.getLogger(__name__)


def snapshot(context: RetrainContext) -> str:
    """Freeze the tables as of the day; a repetition of the attempt sees the same data again.

    A dry run freezes the tables as they are now, each time, and for itself.

    Raises
    ------
    UnfinishedDayError
        If users may still be added to the day.
    RetrainError
        If the attempt was decided and its files were pruned: other data would make another model of the same name.
    """

    def build(folder: Path) -> None:
        if (verdict := find_verdict(context)) is not None:
            raise RetrainError(
                f"{context.run_key} was decided already ({verdict.action} of version {verdict.challenger_version}) and "
                "its files were pruned, so that nothing is left to run; a later day, or other settings, can be trained"
            )
        with context.engine.connect() as connection:
            require_finished_day(connection, context.as_of, context.clock())
            measured = read_last_peaks(context.store)
            needs = predict_needs(connection, context.preset, context.n_threads, measured)
        free = read_memory().free
        if needs.n_bytes > free:
            logger.warning("memory may not suffice: %s, and %.1f GiB are free", needs, free / GIB)
        logger.info("%s: %s", context.run_key, describe_attempt(context))
        _write_pointer(folder, write_snapshot(context.engine, context.store, context.as_of))

    if not context.dry_run:
        return publish_once(context, "snapshot", {"attempt": context.inputs}, build)
    uri = write_snapshot(context.engine, context.store, context.as_of, prefix=f"{DRY_RUNS}/{SNAPSHOTS}")
    inputs = {"attempt": context.inputs, "uri": uri}
    return publish_once(context, "snapshot", inputs, lambda folder: _write_pointer(folder, uri))


def _write_pointer(folder: Path, uri: str) -> None:
    (folder / "snapshot.json").write_text(json.dumps({"uri": uri}))


def load_snapshot(context: RetrainContext) -> Snapshot:
    """Read the data that this run has frozen."""
    read_step_digest(context, "snapshot")
    return read_snapshot(context.store, find_snapshot_uri(context))


def find_snapshot_uri(context: RetrainContext) -> str:
    """Find where the data lie that this run has frozen.

    Raises
    ------
    ArtifactError
        It has frozen none.
    """
    return str(json.loads(context.store.read_bytes(f"{context.prefix('snapshot')}/snapshot.json"))["uri"])


def embed_text(context: RetrainContext) -> str:
    """Encode new and changed synopses, and relate titles by name."""
    inputs = {"snapshot": read_step_digest(context, "snapshot"), "text_model": context.text_model}

    def build(folder: Path) -> None:
        catalog = load_snapshot(context).catalog
        vectors = load_text_vectors(
            context.store,
            select_synopses(catalog),
            context.text_model,
            place=f"{DRY_RUNS}/" if context.dry_run else "",
            n_threads=context.n_threads,
            on_progress=lambda done, total: context.progress("embed text", done, total),
        )
        write_state({"vectors": vectors}, folder / "text_vectors.npz")
        write_state(sparse_to_state(compute_title_neighbours(catalog)), folder / "title_neighbours.npz")
        load_encoder.cache_clear()  # half a gigabyte that no later step of this process needs

    return publish_once(context, "embed_text", inputs, build)


def fit_retrieval(context: RetrainContext) -> str:
    """Fit the first-stage models on all training users and once more for each fold; then the standalone models."""
    standalone = select_standalone(context.algorithms)
    needs_text = any("text_vectors" in spec.needs for spec in (*list_first_stage(), *standalone))
    vectors = _load_text_vectors(context) if needs_text else None
    made_from = ModelInputs(seed=context.seed) if vectors is None else ModelInputs(lambda: vectors, context.seed)
    alone_from = replace(made_from, params=context.params)
    models = [repr(model) for model in (*make_first_stage(made_from), *(spec.make(alone_from) for spec in standalone))]
    inputs = {
        "snapshot": read_step_digest(context, "snapshot"),
        "models": models,
        "n_folds": N_FOLDS,
    } | context.train_on
    if needs_text:
        inputs["embed_text"] = read_step_digest(context, "embed_text")

    def build(folder: Path) -> None:
        frozen = load_snapshot(context)
        training = select_group(frozen.interactions, TRAIN)
        ratings, user_ids = training.to_matrix(frozen.catalog), training.user_ids
        context.progress("fit retrieval", 0, N_FOLDS + 1)
        names = (FULL, *(f"fold-{fold}" for fold in range(N_FOLDS)))
        with _cross_fit(context, frozen, ratings, user_ids, lambda: make_first_stage(made_from)) as fitted:
            for done, (name, first_stage) in enumerate(zip(names, fitted, strict=True), start=1):
                (folder / name).mkdir()
                first_stage.save(folder / name)
                context.progress("fit retrieval", done, N_FOLDS + 1)
        alone = fit_standalone(
            ratings,
            frozen.catalog,
            standalone,
            alone_from,
            n_threads=context.n_threads,
            on_progress=context.progress,
        )
        save_standalone(alone, folder)

    return publish_once(context, "fit_retrieval", inputs, build)


@contextmanager
def _cross_fit(
    context: RetrainContext,
    frozen: Snapshot,
    ratings: RatingMatrix,
    user_ids: Ids,
    make_models: Callable[[], Sequence[CandidateGenerator]],
) -> Iterator[Iterable[FirstStage]]:
    """Yield the first stages of all training users and without each fold, as they are fitted, here or on a cluster."""
    if context.cluster is None:
        yield cross_fit(ratings, user_ids, frozen.catalog, make_models, n_folds=N_FOLDS, n_threads=context.n_threads)
        return
    from recsys.distributed.fitting import cross_fit_on_cluster

    with open_partitions(context, context.cluster, frozen) as (client, partitions):
        yield cross_fit_on_cluster(client, partitions, make_models)


def _load_text_vectors(context: RetrainContext) -> Floats:
    with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
        return read_state(fetch(context, "embed_text", Path(scratch)) / "text_vectors.npz")["vectors"]


def train_ranker(context: RetrainContext) -> str:
    """Train both heads and put the whole recommender together."""
    inputs = {
        "embed_text": read_step_digest(context, "embed_text"),
        "fit_retrieval": read_step_digest(context, "fit_retrieval"),
        "preset": asdict(context.preset),
        "seed": context.seed,
        "n_threads": context.n_threads,
        **context.train_on,
    }

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            _train(context, Path(scratch), folder)

    return publish_once(context, "train_ranker", json.loads(json.dumps(inputs)), build)


def _train(context: RetrainContext, scratch: Path, folder: Path) -> None:
    frozen = load_snapshot(context)
    text, retrieval = fetch(context, "embed_text", scratch), fetch(context, "fit_retrieval", scratch)
    vectors = read_state(text / "text_vectors.npz")["vectors"]
    neighbours = sparse_from_state(read_state(text / "title_neighbours.npz"))
    full = FirstStage.load(retrieval / FULL)
    folds = (FirstStage.load(retrieval / f"fold-{fold}") for fold in range(N_FOLDS))
    fitted = _train_heads(context, frozen, full, folds, (frozen.catalog, vectors, neighbours))
    retriever = replace(fitted.recommender.retriever, standalone=load_standalone(retrieval))
    recommender = replace(fitted.recommender, retriever=retriever)
    recommender.save(folder / "model")
    write_golden_requests(recommender, folder / "model")
    trained = fitted.trained
    report = {
        "n_users": fitted.n_users,
        "n_rows": trained.n_rows,
        "n_features": len(trained.ranker.schema.names),
        "best_iterations": {name: head.n_trees for name, head in trained.heads.items()},
        "curves": {name: head.curves for name, head in trained.heads.items()},
        "importance": {name: dict(head.importance) for name, head in trained.heads.items()},
    }
    (folder / TRAINING).write_text(json.dumps(report, indent=1))
    environment = describe_environment(context.n_threads)
    if (n_workers := read_workers(context)) is not None:
        environment["n_workers"] = n_workers
    (folder / ENVIRONMENT).write_text(json.dumps(environment, indent=1))


def _train_heads(
    context: RetrainContext,
    frozen: Snapshot,
    full: FirstStage,
    folds: Iterable[FirstStage],
    titles: tuple[Catalog, Floats, RatingMatrix],
) -> FittedRecommender:
    """Train on top of fitted first stages, here or on a cluster."""
    preset, seed, progress = context.preset, context.seed, context.progress
    if context.cluster is None:
        return train_recommender(
            full,
            folds,
            frozen.interactions,
            titles,
            preset,
            seed=seed,
            n_threads=context.n_threads,
            statuses=frozen.statuses,
            on_progress=progress,
        )
    from recsys.distributed.ranker import train_recommender_on_cluster

    dropped = select_dropped(frozen.statuses, frozen.interactions) if preset.dropped_rating is not None else None
    with open_partitions(context, context.cluster, frozen) as (client, partitions):
        return train_recommender_on_cluster(
            client,
            partitions,
            full,
            folds,
            titles,
            preset,
            seed=seed,
            n_workers=read_workers(context) or 1,
            dropped=dropped,
            on_progress=progress,
        )
