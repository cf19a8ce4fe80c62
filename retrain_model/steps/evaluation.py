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
from recsys.evaluation.list_metrics import compute_overlap
from recsys.evaluation.plots import plot_differences
from recsys.evaluation.translation import Translation
from recsys.exceptions import OtherFormatError, RetrainError, UnknownVersionError
from recsys.gate.anchor import select_anchor
from recsys.gate.decision import Action, Decision, Outcome
from recsys.gate.scorecard import Scorecard
from recsys.recommender import Recommender
from recsys.recommender.cost import compute_list_cost
from recsys.recommender.scoring_once import prepare_for_evaluation
from recsys.storage.promotion import (
    LedgerEntry,
    describe_pending,
    read_ledger,
    reconcile,
    record_decision,
)
from recsys.storage.version_notes import GATE
from retrain_model.context import RetrainContext, fetch, publish_once, read_step_digest
from retrain_model.evidence import CARD, ENVIRONMENT, RECIPE, TRAINING, build_evidence, build_recipe, to_tags
from retrain_model.steps.fit import load_snapshot

logger = logging.getLogger(__name__)

CHALLENGER = "challenger"
CHAMPION = "champion"
ANCHOR = "anchor"
# Each test user is scored on so many hidden fifths, and counts once with the mean.
N_HIDINGS = 5
# Lists whose work is counted.
N_COUNTED = 50
POPULAR = "popular"


def evaluate(context: RetrainContext) -> str:
    """Register the challenger and score it, the champion, its anchor and the baselines on the same held-out users."""
    decided, ledger = _find_verdict(context), read_ledger(context.engine)
    champion = decided.champion_version if decided else reconcile(context.engine, context.registry)
    before = [entry for entry in ledger if decided is None or entry.decision_id < decided.decision_id]
    anchor = select_anchor(before, champion)
    versions = {CHAMPION: champion, ANCHOR: None if anchor == champion else anchor}
    inputs = {"train_ranker": read_step_digest(context, "train_ranker"), "n_hidings": N_HIDINGS, **versions}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            _evaluate(context, versions, Path(scratch), folder)

    return publish_once(context, "evaluate", inputs, build)


def _find_verdict(context: RetrainContext) -> LedgerEntry | None:
    """Find the verdict that this run already has; it fixes the champion, even if another version stands by now."""
    return next((entry for entry in read_ledger(context.engine) if entry.run_key == context.run_key), None)


def _evaluate(context: RetrainContext, versions: dict[str, int | None], scratch: Path, folder: Path) -> None:
    frozen = load_snapshot(context)
    training = select_group(frozen.interactions, TRAIN).to_matrix(frozen.catalog)
    eval_set = build_evaluation_set(frozen.to_evaluation_data(), training, n_hidings=N_HIDINGS)
    output = fetch(context, "train_ranker", scratch)
    results, unread = _score_all(context, versions, eval_set, output / "model", scratch)
    tables = [result.to_table(eval_set).assign(arrived=eval_set.arrived) for result in results.values()]
    pd.concat(tables, ignore_index=True).to_parquet(folder / "per_user.parquet", index=False)
    means = {name: result.means() for name, result in results.items()}
    summary = {
        "run_key": context.run_key,
        "challenger_version": _register(context, output, means, eval_set),
        "champion_version": versions[CHAMPION],
        "anchor_version": versions[ANCHOR],
        "unread": unread,
        "n_test_users": len(eval_set.users.user_ids),
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
    results = {CHALLENGER: score_version(CHALLENGER, model, eval_set, challenger)}
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


def score_version(name: str, model: Recommender, eval_set: EvaluationSet, folder: Path) -> EvaluationResult:
    """Evaluate a version; its facts also say the bytes of all its files and the work of a list."""
    result = evaluate_recommender(name, prepare_for_evaluation(model), eval_set)
    history = Translation(eval_set.catalog, model.catalog).translate(eval_set.users.history[:N_COUNTED])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return add_facts(result, {"artifact_bytes": float(size), **compute_list_cost(model, history)})


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
    """Compare challenger and champion and keep the decision with its numbers and plot; nothing moves yet.

    Raises
    ------
    RetrainError
        If this run has its verdict already, under other settings of the gate.
    """
    rules = context.gate
    _refuse_other_rules(context)
    inputs = {"evaluate": read_step_digest(context, "evaluate"), "rules": json.loads(json.dumps(asdict(rules)))}

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="otaku-") as scratch:
            evaluated = fetch(context, "evaluate", Path(scratch))
            cards = _read_scorecards(evaluated)
            decision = rules.decide(cards[CHALLENGER], cards.get(CHAMPION), cards[POPULAR], anchor=cards.get(ANCHOR))
            evaluation = json.loads((evaluated / "evaluation.json").read_text())
            if unread := evaluation["unread"]:
                decision = replace(decision, reason="; ".join([decision.reason, *unread]))
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


def _refuse_other_rules(context: RetrainContext) -> None:
    """Refuse to make a verdict again under other settings: they are set before the data are seen."""
    verdict = _find_verdict(context)
    if verdict is None or verdict.actor != GATE:
        return
    used, wanted = dict(verdict.evidence["gate"]), context.gate.to_dict()
    changed = [
        f"{name} was {used[name]:g}, is {wanted[name]:g}"
        for name in wanted
        if used.get(name, wanted[name]) != wanted[name]
    ]
    if changed:
        raise RetrainError(
            f"{context.run_key} was decided under other settings of the gate ({', '.join(changed)}); "
            "restore them, or retrain another day under the new ones"
        )


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
