"""Options of the weekly job, shared by `python -m retrain_model` and `otaku retrain`."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import typer

StepName: TypeAlias = Literal[
    "snapshot", "embed_text", "fit_retrieval", "train_ranker", "evaluate", "gate", "promote", "keep"
]
PresetName: TypeAlias = Literal["default", "original"]

Step = Annotated[
    StepName | None,
    typer.Argument(
        metavar="STEP",
        help="Run one step only: snapshot, embed_text, fit_retrieval, train_ranker, evaluate, gate, promote or keep.",
    ),
]
AsOf = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day of arrivals to train on, YYYY-MM-DD.")]
Preset = Annotated[PresetName, typer.Option(help="Hyper-parameters and features of the ranker.")]
Gate = Annotated[
    str, typer.Option(metavar="JSON", help='Settings of the gate that differ from OTAKU_GATE_*: {"margin": 0.02}.')
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Train and evaluate, but promote nothing.")]
