"""Answer the task `approve` as Airflow does and write as JSON where it branches to and what it leaves behind."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Instance:
    """Keeps what a task pushes."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value."""
        self.pushed[key] = value


def answer(dags: Path, event: dict[str, Any]) -> dict[str, Any]:
    """Resume the task with an event."""
    sys.path.insert(0, str(dags))
    from otaku_approval import ApprovalBranchOperator, build_approval

    branches: list[Any] = []
    ApprovalBranchOperator.do_branch = lambda _self, *, context, branches_to_execute: branches.extend(  # noqa: ARG005
        branches_to_execute
    )
    instance, operator = Instance(), build_approval("approve")
    try:
        operator.execute_complete({"ti": instance}, {**event, "responded_at": datetime(2026, 1, 11, tzinfo=UTC)})
    except Exception as error:  # noqa: BLE001 - the test reads it
        return {"error": type(error).__name__}
    return {"branches": branches, "answer": instance.pushed["answer"], "timeout": str(operator.response_timeout)}


if __name__ == "__main__":
    results = [answer(Path(sys.argv[1]), event) for event in json.loads(sys.argv[2])]
    from otaku_approval import build_approval

    results.append(build_approval("approve").serialized_params["reason"])
    Path(sys.argv[3]).write_text(json.dumps(results), encoding="utf-8")
