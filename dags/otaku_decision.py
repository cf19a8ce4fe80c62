"""Show what the gate decided in the log of its task, as a table."""

import logging
from collections.abc import Mapping
from typing import Any

# The logger of Airflow's tasks, under which the log of a task shows no name of a module.
log = logging.getLogger("airflow.task")

_CRITERIA = ("criterion", "champion", "challenger", "difference", "95 % interval", "p", "users", "passed")
_GUARDRAILS = ("guardrail", "value", "limit", "passed")


def log_decision(decision: Mapping[str, Any]) -> None:
    """Log the decision of the gate, line by line.

    Parameters
    ----------
    decision
        As `recsys.gate.decision.Decision.to_dict` gives it.
    """
    for line in format_decision(decision):
        log.info("%s", line)


def format_decision(decision: Mapping[str, Any]) -> list[str]:
    """Lay the decision out as lines: verdict and reason, then a table of criteria and one of guardrails."""
    reference = str(decision["reference"])
    head = [name if name != "champion" else reference for name in _CRITERIA]
    criteria = [_format_criterion(found) for found in decision["criteria"]]
    guardrails = [
        [found["name"], _number(found["value"]), _number(found["limit"]), _yes(found["passed"])]
        for found in decision["guardrails"]
    ]
    lines = [f"{decision['action']} ({decision['outcome']}): {decision['reason']}", ""]
    lines += _align([head, *criteria])
    return [*lines, "", *_align([list(_GUARDRAILS), *guardrails])] if guardrails else lines


def _format_criterion(found: Mapping[str, Any]) -> list[str]:
    measured = found["difference"]
    if measured is None:
        return [found["name"], "", "", "", "too few users", "", "", _yes(found["passed"])]
    low, high = measured["low"], measured["high"]
    return [
        found["name"],
        _number(measured["champion_mean"]),
        _number(measured["challenger_mean"]),
        f"{measured['mean']:+.4f}",
        f"{low:+.4f} to {high:+.4f}",
        "" if measured["p_value"] is None else f"{measured['p_value']:.2g}",
        str(measured["n"]),
        _yes(found["passed"]),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _yes(passed: bool) -> str:
    return "yes" if passed else "no"


def _align(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
