"""`otaku evaluate`: models side by side on users whom none of them has seen."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

if TYPE_CHECKING:
    from otaku.evaluation.run import Evaluation


class EvaluateCommand(TyperCommand):
    """Lists the models of the registry in its help page; they are read when it is shown, since that takes a second."""

    def get_help(self, ctx: Any) -> str:
        """Format the help page."""
        from recsys.retrieval.registry import list_names

        for param in self.params:
            if isinstance(param, TyperOption) and param.name == "models":
                param.help = _describe_models(list_names())
        return super().get_help(ctx)


def _describe_models(names: Sequence[str]) -> str:
    return (
        f"Comma-separated: {', '.join(names)}, ranker, ranker-without-GROUP, v7 for version 7. "
        "Default: popular, item-knn, als, ease and what is in Production."
    )


class Protocol(StrEnum):
    """How models are evaluated; the second one is shown beside the first, never instead of it."""

    HELDOUT = "heldout"
    SEED004 = "seed004"


class Group(StrEnum):
    """Users of the evaluation set."""

    TEST = "test"
    VALIDATION = "validation"


def evaluate(
    models: Annotated[
        str | None,
        typer.Option(help="Comma-separated; see --help."),
    ] = None,
    version: Annotated[list[int] | None, typer.Option(min=1, help="A registered version; may be repeated.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Pair the others with this model. [default: ease, else popular, else the first]")
    ] = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day of arrivals in the snapshot.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A folder instead of the database.")
    ] = None,
    group: Annotated[Group, typer.Option(help="Users to evaluate on; validation users are for tuning.")] = Group.TEST,
    protocol: Annotated[
        Protocol, typer.Option(help="seed004 adds the leaky protocols of the original, for side by side.")
    ] = Protocol.HELDOUT,
    cold: Annotated[bool, typer.Option("--cold", help="Add users with few ratings, and titles without any.")] = False,
    max_users: Annotated[int | None, typer.Option(min=2, help="Evaluate on so many users only: a quick look.")] = None,
    params: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Tuned hyper-parameters by model, JSON.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Hyper-parameters of the ranker: default, original.")] = "default",
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a fit.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write all numbers here.")] = None,
    plots: Annotated[Path | None, typer.Option(file_okay=False, help="Write the plots to this folder.")] = None,
    save: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write the fitted models to this folder, one folder each.")
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Log numbers and plots to MLflow.")] = False,
) -> None:
    """Evaluate models on held-out users: their hidden ratings, the same ones for every model.

    Every metric comes with its 95 % interval over users, by slice, for discovery, and paired with a reference.
    """
    from otaku.console import console
    from otaku.evaluation.run import write_json, write_plots

    if data is not None and as_of is not None:
        raise typer.BadParameter("a folder has no days; leave out --as-of or --data", param_hint="--as-of")
    evaluation = _evaluate_models(
        (models, version or [], reference),
        data if data is not None else as_of,
        {"group": group.value, "preset": preset, "max_users": max_users},
        (params, seed, threads),
        save,
        cold=cold,
        leaky=protocol is Protocol.SEED004,
    )
    _show(evaluation)
    if json_file is not None:
        write_json(evaluation, json_file)
        console.print(f"The numbers are in {json_file}.", soft_wrap=True)
    if plots is not None:
        console.print(f"The plots are in {plots}: {', '.join(path.name for path in write_plots(evaluation, plots))}.")
    if mlflow:
        console.print(f"Logged to MLflow as {_log(evaluation)}.")


def _evaluate_models(
    wanted: tuple[str | None, Sequence[int], str | None],
    source: Path | datetime | None,
    eval_set: Mapping[str, Any],
    making: tuple[Path | None, int, int],
    save: Path | None,
    *,
    cold: bool,
    leaky: bool,
) -> "Evaluation":
    """Evaluate models on a folder, or on the database as of a day, with progress bars."""
    from otaku.console import show_progress
    from otaku.evaluation.harness import build_harness
    from otaku.evaluation.leaky import evaluate_leaky
    from otaku.evaluation.run import evaluate_heldout
    from otaku.evaluation.sources import choose_models, choose_reference, open_database, open_folder, open_version
    from recsys.evaluation.tuning import read_best_params
    from recsys.retrieval.spec import ModelInputs

    params, seed, threads = making
    tuned: Mapping[str, Mapping[str, Any]] = {} if params is None else read_best_params(params)
    with show_progress() as report:
        names = choose_models(wanted[0], wanted[1], from_database=not isinstance(source, Path))
        if isinstance(source, Path):
            opened = open_folder(source, report)
        else:
            opened = open_database(None if source is None else source.date(), report)
        inputs = ModelInputs(opened.text_vectors, seed, threads, tuned)
        harness = build_harness(opened.world, inputs, open_version=open_version, on_progress=report, **eval_set)
        described = {
            "data": opened.uri,
            "digest": opened.world.name,
            "group": eval_set["group"],
            "params": dict(tuned),
        }
        against = wanted[2] or choose_reference(names)
        evaluation = evaluate_heldout(harness, names, against, cold=cold, describe=described, save=save)
        if leaky:
            evaluation.leaky = evaluate_leaky(harness)
    return evaluation


def _show(evaluation: "Evaluation") -> None:
    from otaku.console import console
    from otaku.evaluation.tables import build_cold_table, build_leaky_table, build_tables, build_unrated_table

    tables = build_tables(evaluation.comparison)
    if evaluation.cold is not None:
        tables.append(build_cold_table(evaluation.cold))
    if evaluation.unrated is not None:
        tables.append(build_unrated_table(evaluation.unrated))
    if evaluation.leaky is not None:
        tables.append(build_leaky_table(evaluation.leaky))
    for table in tables:
        console.print(table)


def _log(evaluation: "Evaluation") -> str:
    """Log to the registry's experiment; the same evaluation again is the same run."""
    import io
    import json

    from otaku.console import running_settings
    from otaku.evaluation.run import compute_run_key
    from recsys.connections import open_registry

    registry = open_registry(running_settings())
    run_key = compute_run_key(evaluation)
    run_id = registry.start_run(run_key, tags={"kind": "evaluation"})
    means = {
        f"{name}.{metric}": found["mean"]
        for name, model in evaluation.comparison["models"].items()
        for metric, found in model["metrics"].items()
    }
    per_user = io.BytesIO()
    evaluation.per_user().to_parquet(per_user, index=False)
    registry.log(
        run_id,
        params={key: value for key, value in evaluation.protocol.items() if not isinstance(value, dict)},
        metrics=means,
        figures={f"plots/{name}.png": figure for name, figure in evaluation.draw().items()},
        artifacts={
            "evaluation.json": json.dumps(evaluation.to_dict(), indent=1).encode(),
            "per_user.parquet": per_user.getvalue(),
        },
    )
    registry.finish_run(run_id)
    return run_key
