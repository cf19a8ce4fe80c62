"""Options of the weekly job, shared by `python -m retrain_model` and `otaku retrain`."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import typer

StepName: TypeAlias = Literal[
    "snapshot",
    "embed_text",
    "fit_retrieval",
    "train_ranker",
    "evaluate",
    "gate",
    "request_approval",
    "promote",
    "keep",
]
ApprovalName: TypeAlias = Literal["none", "always", "if_close"]
TrainOnName: TypeAlias = Literal["local", "dask"]
PresetName: TypeAlias = Literal["default", "original"]

Step = Annotated[
    StepName | None,
    typer.Argument(
        metavar="STEP",
        help="Run one step only: snapshot, embed_text, fit_retrieval, train_ranker, evaluate, gate, "
        "request_approval, promote or keep.",
    ),
]
AsOf = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day of arrivals to train on, YYYY-MM-DD.")]
OptionalAsOf = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        help="Last day of arrivals to train on, YYYY-MM-DD.",
        show_default="the last finished day",
    ),
]
Preset = Annotated[PresetName, typer.Option(help="Hyper-parameters and features of the ranker.")]
RunKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Go on with this attempt, whatever code and settings are now. [default: theirs]"),
]
Gate = Annotated[
    str, typer.Option(metavar="JSON", help='Settings of the gate that differ from OTAKU_GATE_*: {"margin": 0.02}.')
]
ApprovalMode = Annotated[
    ApprovalName | None,
    typer.Option(help="Promotions that wait for a person; close are those not significantly better. [default: none]"),
]
Responder = Annotated[str | None, typer.Option(help="Who answered the request for approval; for promote and keep.")]
AnswerReason = Annotated[str | None, typer.Option("--reason", help="Why it was answered so; for promote and keep.")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Threads that every step computes with. [default: OTAKU_TRAIN_THREADS, else 2]"),
]
TrainOn = Annotated[
    TrainOnName | None,
    typer.Option(help="local, or dask: the cluster of OTAKU_DASK_SCHEDULER. [default: OTAKU_TRAIN_ON, else local]"),
]
WithReferences = Annotated[
    bool,
    typer.Option("--references", help="Of one step: return `result`, `links`, and the `inputs` and `outputs` it had."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Train and evaluate, but write below dry-run/ alone.")]
