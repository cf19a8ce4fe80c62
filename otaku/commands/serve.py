"""`otaku serve`: run the recommendation service."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default OTAKU_HOST, 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; default OTAKU_PORT, 8080. 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes that share one model; default OTAKU_WORKERS, 1."),
    ] = None,
) -> None:
    """Serve the model in Production over HTTP until Ctrl-C. Needs `otaku up` or external services."""
    from app.native_pools import load_lightgbm, pin_native_pools

    pin_native_pools()
    load_lightgbm()
    from app.server import serve as run
    from otaku.platform import airflow
    from otaku.platform.environment import export_settings
    from otaku.platform.local import resolve_settings
    from recsys.settings import load_settings

    settings = airflow.add_login(resolve_settings(load_settings()))
    export_settings(settings)
    given = {"host": host, "port": port, "workers": workers}
    run(settings.model_copy(update={name: value for name, value in given.items() if value is not None}))
