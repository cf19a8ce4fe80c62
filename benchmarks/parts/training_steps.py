"""One step of a retraining in a process of its own, without services: what it takes is printed as JSON.

    python benchmarks/parts/training_steps.py fit_retrieval|train_ranker DATA SCRATCH [--threads N] [--preset NAME]

DATA is a folder in any layout that `otaku ingest` reads. Texts get random vectors: their encoding is measured apart,
and neither step takes longer or more memory for what they say. `fit_retrieval` leaves its models in SCRATCH,
`train_ranker` the whole version in SCRATCH/model.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.data.sources.reading import read_source
from recsys.data.splits import TRAIN, select_group
from recsys.features.text_embeddings import DIMENSIONS
from recsys.features.title_neighbours import compute_title_neighbours
from recsys.ranking.params import get_preset
from recsys.recommender.fitting import train_recommender
from recsys.recommender.golden import write_golden_requests
from recsys.recommender.training import N_FOLDS
from recsys.retrieval.first_stage import FirstStage, cross_fit
from recsys.retrieval.registry import make_first_stage
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import fit_standalone, load_standalone, save_standalone, select_standalone
from recsys.types import Floats
from recsys.usage import measure_usage

FULL = "full"


def read_data(folder: Path) -> tuple[Catalog, Interactions, Floats]:
    """Read titles and ratings, and make a vector for each title."""
    source = read_source(folder)
    catalog = Catalog(source.items)
    vectors = np.random.default_rng(0).normal(size=(len(catalog), DIMENSIONS)).astype(np.float32)
    return catalog, Interactions(source.ratings), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def fit_retrieval(data: Path, scratch: Path, n_threads: int) -> None:
    """Fit and store what the step of the same name does."""
    catalog, interactions, vectors = read_data(data)
    training = select_group(interactions, TRAIN)
    ratings, inputs = training.to_matrix(catalog), ModelInputs(lambda: vectors)
    fitted = cross_fit(
        ratings,
        training.user_ids,
        catalog,
        lambda: make_first_stage(inputs),
        n_folds=N_FOLDS,
        n_threads=n_threads,
    )
    for name, stage in zip((FULL, *(f"fold-{fold}" for fold in range(N_FOLDS))), fitted, strict=True):
        (scratch / name).mkdir(parents=True, exist_ok=True)
        stage.save(scratch / name)
    save_standalone(fit_standalone(ratings, catalog, select_standalone(), inputs, n_threads=n_threads), scratch)


def train_ranker(data: Path, scratch: Path, n_threads: int, preset: str) -> None:
    """Train both heads as the step of the same name does."""
    catalog, interactions, vectors = read_data(data)
    fitted = train_recommender(
        FirstStage.load(scratch / FULL),
        (FirstStage.load(scratch / f"fold-{fold}") for fold in range(N_FOLDS)),
        interactions,
        (catalog, vectors, compute_title_neighbours(catalog)),
        get_preset(preset),
        seed=0,
        n_threads=n_threads,
    )
    retriever = replace(fitted.recommender.retriever, standalone=load_standalone(scratch))
    recommender = replace(fitted.recommender, retriever=retriever)
    recommender.save(scratch / "model")
    write_golden_requests(recommender, scratch / "model")


def main() -> None:
    """Run one step and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["fit_retrieval", "train_ranker"])
    parser.add_argument("data", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="default")
    options = parser.parse_args()
    with threadpool_limits({"blas": 1, "openmp": options.threads}), measure_usage() as usage:
        if options.step == "fit_retrieval":
            fit_retrieval(options.data, options.scratch, options.threads)
        else:
            train_ranker(options.data, options.scratch, options.threads, options.preset)
    print(json.dumps(asdict(usage)))


if __name__ == "__main__":
    main()
