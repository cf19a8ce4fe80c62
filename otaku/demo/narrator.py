"""Tell the story on a terminal: what happens, how far it is, and what came of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from otaku.commands.ingest import build_file_table, describe
from recsys.storage.ingestion import IngestReport
from simulate_new_users.job import ArrivalReport

# Shown in this order; the names are those of the models in the evaluation.
_MODELS = ("challenger", "champion", "ease", "als", "item_knn", "lightfm", "popular")
_COLUMNS = {
    "ndcg_at_10": "NDCG@10",
    "recall_at_10": "recall@10",
    "mae": "MAE",
    "catalog_coverage": "coverage",
    "novelty": "novelty",
}
N_SHOWN = 5


class Narrator:
    """Writes to a console; progress bars disappear when their stage is done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: set[str] = set()

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self.console.print()
        self.console.rule(f"[bold]{escape(title)}", align="left")

    def say(self, sentence: str) -> None:
        """Say one thing."""
        self.console.print(sentence, soft_wrap=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Show progress bars while a block runs."""
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            self._bars, self._tasks, self._told = bars, {}, set()
            yield
        self._bars = None

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move a bar; a stage that is done steps back."""
        if self._bars is None:
            return
        if stage not in self._tasks:
            # What stopped early, as training does when it no longer improves, is over once the next stage begins.
            self._tell_stages(set(self._tasks))
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total, visible=done < total)
        if done >= total:
            self._tell_stages({stage})

    def _tell_stages(self, stages: set[str]) -> None:
        """Leave one line for each stage that is over: whoever reads a log instead of a terminal sees no bars."""
        assert self._bars is not None, "bars are shown"  # noqa: S101 - states what callers ensure
        for stage in sorted(stages - self._told):
            bar = next(task for task in self._bars.tasks if task.id == self._tasks[stage])
            self._told.add(stage)
            self._bars.update(bar.id, visible=False)
            self.say(f"  [dim]{stage}: {bar.completed:.0f} of {bar.total:.0f}, {bar.elapsed or 0:.0f} s[/]")

    def ingested(self, report: IngestReport) -> None:
        """Show rows in, ingested and quarantined."""
        self.console.print(build_file_table(report))
        self.say(describe(report))

    def arrived(self, week: int, reports: list[ArrivalReport]) -> None:
        """Show users a day."""
        table = Table(title=f"Arrivals of week {week}", title_justify="left", title_style="bold", box=None)
        table.add_column("")
        for report in reports:
            table.add_column(f"{report.day:%d %b}", justify="right")
        table.add_row("users", *(str(report.n_users) for report in reports))
        table.add_row("ratings", *(str(report.n_ratings) for report in reports))
        self.console.print(table)
        n_generated = sum(report.n_generated for report in reports)
        if n_generated:
            self.say(f"The pool has run dry: {n_generated} of them are drawn from the model of the known users.")

    def drifted(self, reason: str | None) -> None:
        """Show whether the model still fits the users."""
        if reason is not None:
            self.say(f"Drift: {escape(reason)}.")

    def retrained(self, report: dict[str, Any], seconds: float) -> None:
        """Show the models on the held-out users and the verdict of the gate."""
        evaluation, decision = report["evaluation"], report["decision"]
        self.console.print(build_model_table(evaluation))
        versions = f"challenger = version {evaluation['challenger_version']}"
        if evaluation["champion_version"] is not None:
            versions += f", champion = version {evaluation['champion_version']}"
        self.say(f"{versions}; trained and judged in {seconds:.0f} s")
        colour = "green" if decision["action"] == "promote" else "yellow"
        self.say(f"[bold {colour}]{decision['action'].upper()}[/]: {escape(decision['reason'])}")
        difference = decision["criteria"][0]["difference"]
        if difference is not None:
            self.say(
                f"  paired difference of NDCG@10 to {decision['reference']}: {difference['mean']:+.4f}, 95 % interval "
                f"{difference['low']:+.4f} … {difference['high']:+.4f}, {_tell_p(difference['p_value'])}, "
                f"{difference['n']} users"
            )

    def answered(self, title: str, exchange: Mapping[str, Any]) -> None:
        """Show one answer of the service as a table."""
        answer = exchange["answer"]
        self.console.print()
        self.say(f"[bold]{escape(title)}[/]  [dim]{answer['kind']}, {exchange['milliseconds']:.0f} ms[/]")
        resolved = answer.get("resolved")
        if resolved:
            name, sure = escape(resolved["title"]), resolved["confidence"]
            self.say(f"  taken for [bold]{name}[/] ({resolved['match']}, {sure:.0%} sure)")
        best = [f"{escape(item['title'])} ({item['rating']})" for item in (answer.get("watched") or [])[:3]]
        if best:
            self.say(f"  liked most: {', '.join(best)}")
        table = Table("#", "title", "genres", "type", box=None, padding=(0, 2, 0, 2))
        table.add_column("predicted rating", justify="right")
        for item in answer["recommendations"][:N_SHOWN]:
            rating = item["predicted_rating"]
            shown = "-" if rating is None else f"{rating:.1f}"
            table.add_row(str(item["rank"]), escape(item["title"]), ", ".join(item["genres"][:3]), item["type"], shown)
        self.console.print(table)


def _tell_p(p_value: float | None) -> str:
    if p_value is None:
        return "p undefined"
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


def build_model_table(evaluation: Mapping[str, Any]) -> Table:
    """Lay out the metrics of all models that were judged."""
    n_users = evaluation["n_test_users"]
    table = Table(title=f"On {n_users} held-out users, after {evaluation['run_key']}", title_justify="left")
    table.add_column("model")
    for title in _COLUMNS.values():
        table.add_column(title, justify="right")
    for name in _MODELS:
        found = evaluation["models"].get(name)
        if found is not None:
            cells = (f"{found[key]:.3f}" if key in found else "-" for key in _COLUMNS)
            table.add_row(name.replace("_", "-"), *cells, style="bold" if name == "challenger" else None)
    return table
