"""`otaku score`: the lists of all users as Parquet files, on a Dask cluster or on processes of this machine."""

import json
from typing import Annotated

import typer


def score(
    out: Annotated[str, typer.Option(help="A folder that all workers see, or s3://BUCKET/PREFIX.")],
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of each list.")] = 10,
    version: Annotated[int | None, typer.Option(help="Of the model; by default the one in Production.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; by default one for each processor.")
    ] = None,
    memory_limit: Annotated[
        str, typer.Option(help="Of each process, such as 2GiB; one that needs more is ended and its share done again.")
    ] = "auto",
    store: Annotated[
        bool,
        typer.Option(
            "--store", help="Write the lists into PostgreSQL, too; a service with OTAKU_SCORED_LISTS=true answers them."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write the list of every user, as the service would answer it now, to Parquet files.

    Runs on the cluster that OTAKU_DASK_SCHEDULER names, otherwise on this machine. The files of an earlier scoring in
    the same place are replaced; they are complete once _manifest.json is there.
    """
    from otaku.console import console, running_settings, show_progress
    from recsys.connections import open_registry
    from recsys.cpus import count_cpus
    from recsys.distributed.cluster import open_cluster
    from recsys.distributed.places import open_place
    from recsys.distributed.scoring import Scoring, score_users
    from recsys.exceptions import NoProductionModelError

    settings = running_settings()
    open_place(settings, out)
    number = version or open_registry(settings).production_version()
    if number is None:
        raise NoProductionModelError("there is no model in Production; `otaku retrain --as-of DAY` makes one")
    scoring = Scoring(settings, out, number, k, store)
    with (
        open_cluster(settings.dask_scheduler, n_workers=workers or count_cpus(), memory_limit=memory_limit) as client,
        show_progress() as on_progress,
    ):
        report = score_users(client, scoring, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        rate = report.n_users / max(report.seconds, 1e-9)
        console.print(
            f"{report.n_users:,} lists of version {report.version} are in {out}: {len(report.partitions)} files, "
            f"{report.seconds:.0f} s, {rate:,.0f} users/s",
            soft_wrap=True,
        )
