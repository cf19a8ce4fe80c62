"""What the task `gate` logs of its decision."""

import sys
from pathlib import Path

import pytest

DECISION = {
    "action": "promote",
    "outcome": "better",
    "reason": "NDCG@10 is significantly better",
    "reference": "champion",
    "criteria": [
        {
            "name": "ndcg_at_10",
            "difference": {
                "mean": 0.0231,
                "low": 0.011,
                "high": 0.0352,
                "n": 58,
                "level": 0.95,
                "t": 3.9,
                "p_value": 0.00031,
                "challenger_mean": 0.4351,
                "champion_mean": 0.412,
            },
            "margin": 0.01,
            "passed": True,
            "sentence": "",
        },
        {"name": "rating_error", "difference": None, "margin": 0.01, "passed": True, "sentence": ""},
    ],
    "guardrails": [{"name": "coverage", "passed": False, "value": 0.61234, "limit": None, "sentence": ""}],
    "gate": {},
}
LINES = """\
promote (better): NDCG@10 is significantly better

criterion     champion  challenger  difference  95 % interval       p        users  passed
ndcg_at_10    0.412     0.4351      +0.0231     +0.0110 to +0.0352  0.00031  58     yes
rating_error                                    too few users                       yes

guardrail  value   limit  passed
coverage   0.6123         no"""


def test_a_decision_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "dags")
    monkeypatch.delitem(sys.modules, "otaku_decision", raising=False)
    from otaku_decision import format_decision

    assert "\n".join(format_decision(DECISION)) == LINES
