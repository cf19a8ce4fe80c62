"""`otaku serve`: the recommendation service alone."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default OTAKU_HOST, 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; default OTAKU_PORT, 8080. 0 takes a free one.")
    ] = None,
) -> None:
    """Answer POST /recommend/ with the model in Production, until Ctrl-C. Needs `otaku up` or outside services."""
    import uvicorn

    from app.main import create_app
    from otaku.console import running_settings

    settings = running_settings()
    uvicorn.run(
        create_app(settings),
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        log_level=settings.log_level.lower(),
    )
