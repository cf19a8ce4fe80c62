"""The required action before a promotion: who answers, why, and what follows when nobody does."""

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.gate.approval import RESPONSE_TIMEOUT
from tests.dags.conftest import DAGS, run_with_airflow

MAI = {"id": "7", "name": "mai"}


def event(option: str, reason: str, user: dict[str, str] | None) -> dict[str, Any]:
    return {"chosen_options": [option], "params_input": {"reason": reason}, "responded_by_user": user}


@pytest.mark.slow
def test_an_answer_branches_and_names_who_and_why(airflow_home: Path, tmp_path: Path) -> None:
    events = [
        event("Promote", "the lists look good", MAI),
        event("Keep the champion", "odd lists", MAI),
        event("Keep the champion", "", None),  # the time is over
        event("Promote", "", MAI),
    ]
    output = tmp_path / "answers.json"
    script = Path(__file__).with_name("answer_approval.py")
    done = run_with_airflow(airflow_home, script, DAGS, json.dumps(events), output)
    assert done.returncode == 0, done.stderr[-3000:]
    promoted, refused, nobody, no_reason, form = json.loads(output.read_text(encoding="utf-8"))
    assert promoted == {
        "branches": ["promote"],
        "answer": {"responder": "mai", "reason": "the lists look good"},
        "timeout": str(RESPONSE_TIMEOUT),
    }
    assert (refused["branches"], refused["answer"]) == (["keep"], {"responder": "mai", "reason": "odd lists"})
    assert nobody["branches"] == ["keep"]
    assert nobody["answer"] == {"responder": None, "reason": f"nobody answered within {RESPONSE_TIMEOUT.days} days"}
    assert no_reason == {"error": "ValueError"}
    # The form begins empty and asks for a reason; the task itself starts without one.
    assert form["value"] == ""
    assert (form["schema"]["type"], form["schema"]["minLength"]) == ("string", 3)
