"""The evaluation half of a retraining: evaluate, gate, promote or keep."""

import json
import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data.splits import TRAIN, select_group
from recsys.evaluation.evaluate import EvaluationResult, evaluate_generator, evaluate_recommender
from recsys.evaluation.evaluation_set import EvaluationSet, build_evaluation_set
from recsys.evaluation.plots import plot_differences
from recsys.exceptions import OtherFormatError, RetrainError
from recsys.gate.decision import Action, Decision, Outcome
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard
from recsys.recommender import Recommender
from recsys.storage.promotion import (
    LedgerEntry,
    describe_pending,
    read_ledger,
    reconcile,
    record_decision,
)
from retrain_model.context import RetrainContext, fetch, publish_once, read_step_digest
from retrain_model.evidence import CARD, ENVIRONMENT, RECIPE, TRAINING, build_evidence, build_recipe, to_tags
from retrain_model.steps.fit import load_snapshot

logger = logging.getLogger(__name__)

CHALLENGER = "challenger"
CHAMPION = "champion"
POPULAR = "popular"


def evaluate(context: RetrainContext) -> str:
    """Register the challenger and score it, the champion and the baselines on the same held-out users."""
    decided = _find_verdict(context)
    champion = decided.champion_version if decided else reconcile(context.engine, context.registry)
    inputs = {"train_ranker": read_step_digest(context, "train_ranker"), "champion": champion}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            _evaluate(context, champion, Path(scratch), folder)

    return publish_once(context, "evaluate", inputs, build)


def _find_verdict(context: RetrainContext) -> LedgerEntry | None:
    """Find the verdict that this run already has; it fixes the champion, even if another version stands by now."""
    return next((entry for entry in read_ledger(context.engine) if entry.run_key == context.run_key), None)


def _evaluate(context: RetrainContext, champion: int | None, scratch: Path, folder: Path) -> None:
    frozen = load_snapshot(context)
    training = select_group(frozen.interactions, TRAIN).to_matrix(frozen.catalog)
    eval_set = build_evaluation_set(frozen.to_evaluation_data(), training)
    output = fetch(context, "train_ranker", scratch)
    challenger = Recommender.load(output / "model")
    singles = list(challenger.retriever.first_stage.models.values())
    n_models = len(singles) + 1 + (champion is not None)
    results: list[EvaluationResult] = []
    unread = None

    def add(result: EvaluationResult) -> None:
        results.append(result)
        context.progress("evaluate", len(results), n_models)

    add(with_artifact_size(evaluate_recommender(CHALLENGER, challenger, eval_set), output / "model"))
    if champion is not None:
        place = context.registry.download(champion, scratch / CHAMPION)
        try:
            add(with_artifact_size(evaluate_recommender(CHAMPION, Recommender.load(place), eval_set), place))
        except OtherFormatError as error:
            # Code of another format neither serves nor scores it. Without this way out nothing could ever replace it.
            unread = f"version {champion} in Production was not compared with: {error}"
            logger.warning(unread)
    for model in singles:
        add(evaluate_generator(model, eval_set))
    tables = [result.to_table(eval_set).assign(arrived=eval_set.arrived) for result in results]
    pd.concat(tables, ignore_index=True).to_parquet(folder / "per_user.parquet", index=False)
    means = {result.name: result.means() for result in results}
    version = _register(context, output, means, eval_set)
    summary = {
        "run_key": context.run_key,
        "challenger_version": version,
        "champion_version": champion,
        "champion_unread": unread,
        "n_test_users": len(eval_set.users.user_ids),
        "n_training_users": eval_set.n_training_users,
        "snapshot": frozen.digest,
        "models": means,
        "reliability": {
            result.name: [asdict(found) for found in result.reliability] for result in results if result.reliability
        },
    }
    (folder / "evaluation.json").write_text(json.dumps(summary, indent=1))


def with_artifact_size(result: EvaluationResult, folder: Path) -> EvaluationResult:
    """Add the bytes of all files of a model to the facts of its result."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts = {**result.facts, "artifact_bytes": float(size)}
    return replace(result, facts=facts)


def _register(
    context: RetrainContext, output: Path, means: dict[str, dict[str, float]], eval_set: EvaluationSet
) -> int:
    """Record the run in MLflow and store the challenger as a version, once."""
    registry = context.registry
    frozen_uri = json.loads(context.store.read_bytes(f"{context.prefix('snapshot')}/snapshot.json"))["uri"]
    recipe = build_recipe(context, frozen_uri, json.loads((output / ENVIRONMENT).read_text()))
    run_id = registry.start_run(context.run_key, tags={"preset": context.preset.name})
    training = json.loads((output / TRAINING).read_text())
    preset = asdict(context.preset)
    params = {"as_of": context.as_of, "seed": context.seed, "text_model": context.text_model}
    params |= {f"{head}.{name}": value for head in ("relevance", "rating") for name, value in preset[head].items()}
    metrics = {f"{name}.{metric}": value for name, table in means.items() for metric, value in table.items()}
    counts = {"n_test_users": len(eval_set.users.user_ids), "n_training_users": eval_set.n_training_users}
    registry.log(
        run_id,
        params=params | {"n_features": training["n_features"]},
        metrics=metrics | counts,
        tags=to_tags(recipe),
        artifacts={TRAINING: (output / TRAINING).read_bytes(), RECIPE: json.dumps(recipe, indent=1).encode()},
        dataset=("ratings", frozen_uri.rstrip("/").rsplit("/", 1)[-1], frozen_uri),
    )
    return registry.register_model(run_id, output / "model", context.run_key, metrics=means[CHALLENGER])


def read_evaluation(context: RetrainContext) -> dict[str, Any]:
    """Read the summary of a finished evaluation."""
    read_step_digest(context, "evaluate")
    summary: dict[str, Any] = json.loads(context.store.read_bytes(f"{context.prefix('evaluate')}/evaluation.json"))
    return summary


def gate(context: RetrainContext) -> dict[str, Any]:
    """Compare challenger and champion by the gate; keep the decision with its numbers and plot, move nothing."""
    rules = PromotionGate()
    inputs = {"evaluate": read_step_digest(context, "evaluate"), "rules": json.loads(json.dumps(asdict(rules)))}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            evaluated = fetch(context, "evaluate", Path(scratch))
            cards = _read_scorecards(evaluated)
            decision = rules.decide(cards[CHALLENGER], cards.get(CHAMPION), cards[POPULAR])
            evaluation = json.loads((evaluated / "evaluation.json").read_text())
            if unread := evaluation.get("champion_unread"):
                decision = replace(decision, reason=f"{decision.reason}; {unread}")
            version = evaluation["challenger_version"]
            if version == evaluation["champion_version"]:
                decision = replace(
                    decision,
                    action=Action.Keep,
                    outcome=Outcome.AlreadyInProduction,
                    reason=f"version {version} is already in Production",
                )
            (folder / "decision.json").write_text(json.dumps(decision.to_dict(), indent=1))
            _explain(context, decision, cards, evaluated)

    publish_once(context, "gate", inputs, build)
    return read_decision(context).to_dict()


def _explain(context: RetrainContext, decision: Decision, cards: dict[str, Scorecard], evaluated: Path) -> None:
    """Leave the decision in MLflow with all that explains it, and a card of the model."""
    registry = context.registry
    run_id = registry.start_run(context.run_key)
    training = json.loads(registry.read_artifact(run_id, TRAINING))
    artifacts, figures = build_evidence(context, evaluated, decision, training, subject=CHALLENGER)
    reference = cards.get(CHAMPION, cards[POPULAR]).arrange(cards[CHALLENGER].user_ids)
    differences = plot_differences(cards[CHALLENGER].ndcg, reference.ndcg, decision.criteria[0], decision=decision)
    registry.log(
        run_id,
        metrics=decision.to_metrics(),
        tags={"gate.action": decision.action, "gate.outcome": decision.outcome, "gate.reason": decision.reason},
        figures={"gate/differences.png": differences, **figures},
        artifacts={"gate/decision.json": json.dumps(decision.to_dict(), indent=1).encode(), **artifacts},
    )
    version = int(json.loads((evaluated / "evaluation.json").read_text())["challenger_version"])
    describe_pending(context.engine, registry, version, decision.reason, run_key=context.run_key, card=CARD)
    registry.finish_run(run_id)


def _read_scorecards(folder: Path) -> dict[str, Scorecard]:
    facts = json.loads((folder / "evaluation.json").read_text())["models"]
    table = pd.read_parquet(folder / "per_user.parquet")
    return {
        str(name): Scorecard(
            user_ids=rows[Columns.User].to_numpy(dtype=np.int64),
            ndcg=rows["ndcg_at_10"].to_numpy(dtype=np.float64),
            rating_error=None if rows["mae"].isna().all() else rows["mae"].to_numpy(dtype=np.float64),
            arrived=rows["arrived"].to_numpy(dtype=bool),
            facts=facts[name],
        )
        for name, rows in table.groupby("model")
    }


def read_decision(context: RetrainContext) -> Decision:
    """Read what the gate of this run decided."""
    read_step_digest(context, "gate")
    return Decision.from_dict(json.loads(context.store.read_bytes(f"{context.prefix('gate')}/decision.json")))


def promote(context: RetrainContext) -> str:
    """Write the gate's yes into the ledger and move the alias; return the URI of the version.

    Raises
    ------
    RetrainError
        If the gate said no.
    """
    return _record(context, Action.Promote)


def keep(context: RetrainContext) -> str:
    """Write the gate's no into the ledger; return the URI of the version that was refused."""
    return _record(context, Action.Keep)


def _record(context: RetrainContext, action: Action) -> str:
    summary, decision = read_evaluation(context), read_decision(context)
    if decision.action is not action:
        raise RetrainError(f"the gate of {context.run_key} says {decision.action}, not {action}: {decision.reason}")
    version, champion = int(summary["challenger_version"]), summary["champion_version"]
    record_decision(
        context.engine,
        context.registry,
        decision,
        run_key=context.run_key,
        challenger=version,
        champion=champion,
    )
    return f"models:/{context.registry.model_name}/{version}"
