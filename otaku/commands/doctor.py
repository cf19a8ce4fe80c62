"""`otaku doctor`: check the machine, the settings and the services."""

import json
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check machine, packages, settings and services, with a remedy for each; exit code 1 if a required check fails."""
    from otaku.platform.checkup import examine

    checks = examine()
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        from rich.markup import escape
        from rich.table import Table

        from otaku.console import console

        table = Table("", "check", "found", "remedy", title="Checks", title_justify="left")
        for check in checks:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]" if check.required else "[yellow]![/]"
            table.add_row(mark, check.name, escape(check.found), escape(check.remedy or ""))
        console.print(table)
    if any(check.required and not check.ok for check in checks):
        raise typer.Exit(1)
