"""The evaluation of a retraining: challenger, champion, anchor and baselines on the same held-out users."""

import json
import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from recsys.cpus import count_cpus
from recsys.data.splits import TRAIN, select_group
from recsys.data.users import is_generated
from recsys.evaluation.evaluate import EvaluationResult, evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationSet, build_evaluation_set
from recsys.evaluation.list_metrics import compute_overlap
from recsys.evaluation.translation import Translation
from recsys.exceptions import OtherFormatError, UnknownVersionError
from recsys.gate.anchor import select_anchor
from recsys.recommender import Recommender
from recsys.recommender.cost import compute_list_cost
from recsys.recommender.scoring_once import prepare_for_evaluation
from recsys.retrieval.standalone import read_training_curves, read_training_facts
from recsys.settings import Settings
from recsys.storage.promotion import (
    read_ledger,
    read_production_version,
    reconcile,
)
from retrain_model.attempts import describe_attempt, find_verdict
from retrain_model.context import RetrainContext, fetch, publish_once, read_step_digest
from retrain_model.evidence import ENVIRONMENT, RECIPE, TRAINING, build_recipe, to_tags
from retrain_model.steps.fit import load_snapshot

logger = logging.getLogger(__name__)

CHALLENGER = "challenger"
CHAMPION = "champion"
ANCHOR = "anchor"
# Each test user is scored on so many hidden fifths, and counts once with the mean.
N_HIDINGS = 5
# Tag of a run: whether another attempt of the day came before, and what is different.
ATTEMPT_TAG = "otaku.attempt"
# Lists whose work is counted.
N_COUNTED = 50
POPULAR = "popular"


def evaluate(context: RetrainContext) -> str:
    """Register the challenger and score it, the champion, its anchor and the baselines on the same held-out users.

    A dry run registers nothing and leaves the aliases where they are.
    """
    decided = None if context.dry_run else find_verdict(context)
    ledger = read_ledger(context.engine, context.registry.model_name)
    find_champion = read_production_version if context.dry_run else reconcile
    champion = decided.champion_version if decided else find_champion(context.engine, context.registry)
    before = [entry for entry in ledger if decided is None or entry.decision_id < decided.decision_id]
    anchor = select_anchor(before, champion)
    versions = {CHAMPION: champion, ANCHOR: None if anchor == champion else anchor}
    inputs = {"train_ranker": read_step_digest(context, "train_ranker"), "n_hidings": N_HIDINGS, **versions}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            _evaluate(context, versions, Path(scratch), folder)

    return publish_once(context, "evaluate", inputs, build, is_settled=decided is not None)


def _evaluate(context: RetrainContext, versions: dict[str, int | None], scratch: Path, folder: Path) -> None:
    frozen = load_snapshot(context)
    training = select_group(frozen.interactions, TRAIN).to_matrix(frozen.catalog)
    eval_set = build_evaluation_set(frozen.to_evaluation_data(), training, n_hidings=N_HIDINGS)
    output = fetch(context, "train_ranker", scratch)
    results, unread = _score_all(context, versions, eval_set, output / "model", scratch)
    marks = {"arrived": eval_set.arrived, "generated": is_generated(eval_set.users.user_ids)}
    tables = [result.to_table(eval_set).assign(**marks) for result in results.values()]
    pd.concat(tables, ignore_index=True).to_parquet(folder / "per_user.parquet", index=False)
    means = {name: result.means() for name, result in results.items()}
    summary = {
        "run_key": context.run_key,
        "challenger_version": None if context.dry_run else _register(context, output, means, eval_set),
        "champion_version": versions[CHAMPION],
        "anchor_version": versions[ANCHOR],
        "unread": unread,
        "n_test_users": len(eval_set.users.user_ids),
        "n_generated_test_users": int(marks["generated"].sum()),
        "n_hidings": N_HIDINGS,
        "n_training_users": eval_set.n_training_users,
        "snapshot": frozen.digest,
        "models": means,
        "reliability": {
            name: [asdict(found) for found in result.reliability]
            for name, result in results.items()
            if result.reliability
        },
    }
    (folder / "evaluation.json").write_text(json.dumps(summary, indent=1))


def _score_all(
    context: RetrainContext, versions: dict[str, int | None], eval_set: EvaluationSet, challenger: Path, scratch: Path
) -> tuple[dict[str, EvaluationResult], list[str]]:
    """Score the challenger, the versions that it is compared with, and the baselines; say what could not be read."""
    model = Recommender.load(challenger)
    singles = [*model.retriever.first_stage.models.values(), *model.retriever.standalone.values()]
    compared = {name: version for name, version in versions.items() if version is not None}
    n_models, unread = 1 + len(compared) + len(singles), []
    if context.cluster is None:
        results = {CHALLENGER: score_version(CHALLENGER, model, eval_set, challenger)}
    else:
        results = _score_on_cluster(context, context.cluster, model, eval_set, challenger)
        singles = []
    for done, (name, version) in enumerate(compared.items(), start=1):
        context.progress("evaluate", done, n_models)
        try:
            place = context.registry.download(version, scratch / name)
            results[name] = score_version(name, Recommender.load(place), eval_set, place)
        except (OtherFormatError, UnknownVersionError) as error:
            # Of another format, or deleted: it is neither served nor scored. Otherwise nothing could ever replace it.
            where = "in Production" if name == CHAMPION else "that drift is measured from"
            unread.append(f"version {version} {where} was not compared with: {error}")
            logger.warning(unread[-1])
    if CHAMPION in results:
        overlap = compute_overlap(results[CHALLENGER].ranked, results[CHAMPION].ranked)
        results[CHALLENGER] = add_facts(results[CHALLENGER], {"overlap_at_10": overlap})
    for done, single in enumerate(singles, start=1 + len(compared)):
        context.progress("evaluate", done, n_models)
        results[single.name] = evaluate_generator(single, eval_set)
    context.progress("evaluate", n_models, n_models)
    return results, unread


def _score_on_cluster(
    context: RetrainContext, settings: Settings, model: Recommender, eval_set: EvaluationSet, challenger: Path
) -> dict[str, EvaluationResult]:
    """Score the challenger and its models by shares of the users; those compared with it follow here."""
    from recsys.distributed.cluster import open_cluster
    from recsys.distributed.evaluation import evaluate_on_cluster

    place = f"{context.prefix('evaluate')}-shares"
    with open_cluster(settings.dask_scheduler, n_workers=count_cpus()) as client:
        address = context.store.uri(place)
        whole, *singles = evaluate_on_cluster(client, CHALLENGER, challenger, eval_set, address, settings, alone=True)
    context.store.delete_prefix(f"{place}/")
    return {CHALLENGER: add_facts(whole, compute_version_facts(model, eval_set, challenger))} | {
        single.name: single for single in singles
    }


def score_version(name: str, model: Recommender, eval_set: EvaluationSet, folder: Path) -> EvaluationResult:
    """Evaluate a version; its facts also say the bytes of all its files and the work of a list."""
    result = evaluate_recommender(name, prepare_for_evaluation(model), eval_set)
    return add_facts(result, compute_version_facts(model, eval_set, folder))


def compute_version_facts(model: Recommender, eval_set: EvaluationSet, folder: Path) -> dict[str, float]:
    """Compute the bytes of all files of a version and the work of a list."""
    history = Translation(eval_set.catalog, model.catalog).translate(eval_set.users.history[:N_COUNTED])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"artifact_bytes": float(size), **compute_list_cost(model, history)}


def add_facts(result: EvaluationResult, facts: dict[str, float]) -> EvaluationResult:
    """Add facts about a model to its result."""
    return replace(result, facts={**result.facts, **facts})


def _register(
    context: RetrainContext, output: Path, means: dict[str, dict[str, float]], eval_set: EvaluationSet
) -> int:
    """Record the run in MLflow and store the challenger as a version, once."""
    registry = context.registry
    frozen_uri = json.loads(context.store.read_bytes(f"{context.prefix('snapshot')}/snapshot.json"))["uri"]
    recipe = build_recipe(context, frozen_uri, json.loads((output / ENVIRONMENT).read_text()))
    preset = recipe["preset"]
    run_id = registry.start_run(context.run_key, tags={"preset": preset["name"]})
    training = json.loads((output / TRAINING).read_text())
    params = {name: recipe[name] for name in ("as_of", "seed", "text_model")}
    params |= {f"{head}.{name}": value for head in ("relevance", "rating") for name, value in preset[head].items()}
    params |= {f"relevance.{name}": preset[name] for name in ("losses", "n_boosters")}
    metrics = {f"{name}.{metric}": value for name, table in means.items() for metric, value in table.items()}
    counts = {"n_test_users": len(eval_set.users.user_ids), "n_training_users": eval_set.n_training_users}
    params["n_features"] = training["n_features"]
    name, digest = "ratings", frozen_uri.rstrip("/").rsplit("/", 1)[-1]
    registry.log(
        run_id,
        params=params,
        metrics=metrics | counts | read_training_facts(output / "model"),
        curves=read_training_curves(output / "model"),
        tags={**to_tags(recipe), ATTEMPT_TAG: describe_attempt(context)},
        artifacts={TRAINING: (output / TRAINING).read_bytes(), RECIPE: json.dumps(recipe, indent=1).encode()},
        dataset=(name, digest, frozen_uri),
    )
    return registry.register_model(
        run_id,
        output / "model",
        context.run_key,
        params=params,
        metrics=means[CHALLENGER],
        dataset=(name, digest),
    )


def read_evaluation(context: RetrainContext) -> dict[str, Any]:
    """Read the summary of a finished evaluation."""
    read_step_digest(context, "evaluate")
    summary: dict[str, Any] = json.loads(context.store.read_bytes(f"{context.prefix('evaluate')}/evaluation.json"))
    return summary
