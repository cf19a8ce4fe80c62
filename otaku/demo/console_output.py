"""Print the results of the demo and of a retraining: ingest, arrivals, metrics, decision, recommendations."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from otaku.commands.ingest import build_file_table, describe
from recsys.storage.ingest_report import IngestReport
from simulate_new_users.job import ArrivalReport

_COLUMNS = {
    "ndcg_at_10": "NDCG@10",
    "recall_at_10": "recall@10",
    "mae": "MAE",
    "catalog_coverage": "coverage",
    "novelty": "novelty",
}
N_SHOWN = 5


class ConsoleOutput:
    """Prints each result to a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def section(self, title: str) -> None:
        """Print a heading."""
        self.console.print()
        self.console.rule(f"[bold]{escape(title)}", align="left")

    def print(self, line: str) -> None:
        """Print a line, which may hold markup."""
        self.console.print(line, soft_wrap=True)

    def ingested(self, report: IngestReport) -> None:
        """Print rows in, ingested and quarantined."""
        self.console.print(build_file_table(report))
        self.print(describe(report))

    def arrived(self, week: int, reports: list[ArrivalReport]) -> None:
        """Print users per day."""
        table = Table(title=f"Arrivals of week {week}", title_justify="left", title_style="bold", box=None)
        table.add_column("")
        for report in reports:
            table.add_column(f"{report.day:%d %b}", justify="right")
        table.add_row("users", *(str(report.n_users) for report in reports))
        table.add_row("ratings", *(str(report.n_ratings) for report in reports))
        self.console.print(table)
        n_generated = sum(report.n_generated for report in reports)
        if n_generated:
            self.print(f"{n_generated} of them are generated, because no held-back users are left.")

    def drifted(self, reason: str | None) -> None:
        """Print the drift verdict."""
        if reason is not None:
            self.print(f"Drift: {escape(reason)}.")

    def retrained(self, report: dict[str, Any], seconds: float) -> None:
        """Print the metrics of all models on the held-out users, and the decision of the gate."""
        evaluation, decision = report["evaluation"], report["decision"]
        self.console.print(build_model_table(evaluation))
        number = evaluation["challenger_version"]
        versions = "challenger = not registered" if number is None else f"challenger = version {number}"
        if evaluation["champion_version"] is not None:
            versions += f", champion = version {evaluation['champion_version']}"
        self.print(f"{versions}; trained and evaluated in {seconds:.0f} s")
        color = "green" if decision["action"] == "promote" else "yellow"
        self.print(f"[bold {color}]{decision['action'].upper()}[/]: {escape(decision['reason'])}")
        if report["action"] == "wait":
            key = report["run_key"]
            self.print(f"It waits for approval: [bold]otaku models approve|refuse {key} --reason TEXT[/]")
        difference = decision["criteria"][0]["difference"]
        if difference is not None:
            self.print(
                f"  paired difference of NDCG@10 to {decision['reference']}: {difference['mean']:+.4f}, 95 % interval "
                f"{difference['low']:+.4f} … {difference['high']:+.4f}, {_format_p_value(difference['p_value'])}, "
                f"{difference['n']} users"
            )

    def checked(self, *, ok: bool, found: str) -> None:
        """Print whether registry and ledger agree."""
        self.print(f"{'[green]✓[/]' if ok else '[red]✗[/]'} ledger: {escape(found)}")

    def recommended(self, title: str, exchange: Mapping[str, Any]) -> None:
        """Print one response of the service as a table."""
        response = exchange["answer"]
        self.console.print()
        self.print(f"[bold]{escape(title)}[/]  [dim]{response['kind']}, {exchange['milliseconds']:.0f} ms[/]")
        resolved = response.get("resolved")
        if resolved:
            name, confidence = escape(resolved["title"]), resolved["confidence"]
            self.print(f"  resolved to [bold]{name}[/] ({resolved['match']}, confidence {confidence:.0%})")
        best = [f"{escape(item['title'])} ({item['rating']})" for item in (response.get("watched") or [])[:3]]
        if best:
            self.print(f"  rated highest: {', '.join(best)}")
        table = Table("#", "title", "genres", "type", box=None, padding=(0, 2, 0, 2))
        table.add_column("predicted rating", justify="right")
        for item in response["recommendations"][:N_SHOWN]:
            rating = item["predicted_rating"]
            shown = "-" if rating is None else f"{rating:.1f}"
            table.add_row(str(item["rank"]), escape(item["title"]), ", ".join(item["genres"][:3]), item["type"], shown)
        self.console.print(table)

    def compared(self, exchanges: Sequence[Mapping[str, Any]]) -> None:
        """Print the first title of every algorithm for every kind of request."""
        kinds = list(dict.fromkeys(exchange["answer"]["kind"] for exchange in exchanges))
        table = Table("algorithm", *(kind.replace("_", " ") for kind in kinds), title_justify="left", box=None)
        rows: dict[str, dict[str, str]] = {}
        for exchange in exchanges:
            first = exchange["answer"]["recommendations"][0]["title"]
            shown = f"{escape(first)} [dim]{exchange['milliseconds']:.0f} ms[/]"
            rows.setdefault(exchange["question"]["algorithm"], {})[exchange["answer"]["kind"]] = shown
        for name, cells in rows.items():
            table.add_row(name, *(cells.get(kind, "-") for kind in kinds))
        self.console.print()
        self.console.print(table)


def _format_p_value(p_value: float | None) -> str:
    if p_value is None:
        return "p undefined"
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


def build_model_table(evaluation: Mapping[str, Any]) -> Table:
    """Build a table with the metrics of all evaluated models."""
    from recsys.retrieval.registry import list_first_stage, list_standalone  # takes a second

    n_users = evaluation["n_test_users"]
    table = Table(title=f"{n_users} held-out users, run {evaluation['run_key']}", title_justify="left")
    table.add_column("model")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for name in ("challenger", "champion", *(spec.key for spec in (*list_first_stage(), *list_standalone()))):
        found = evaluation["models"].get(name)
        if found is not None:
            cells = (f"{found[key]:.3f}" if key in found else "-" for key in _COLUMNS)
            table.add_row(name.replace("_", "-"), *cells, style="bold" if name == "challenger" else None)
    return table
