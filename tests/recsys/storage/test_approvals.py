"""Promotions that wait for a person: asked once, answered once, in the ledger with who and why."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from recsys.exceptions import RetrainError, StaleChampionError
from recsys.gate.anchor import select_anchor
from recsys.storage import approvals, promotion
from recsys.storage.consistency import find_inconsistencies
from recsys.storage.registry import Registry
from tests.recsys.storage.test_promotion import aliases, decide, pytestmark, record, registry  # noqa: F401


def ask(engine: Engine, registry: Registry, lift: float = 0.1, version: int = 2) -> approvals.ApprovalRequest:  # noqa: F811
    return approvals.store_request(
        engine, registry, run_key=f"week-{version}", challenger=version, champion=1, decision=decide(lift), body="why"
    )


def test_a_request_waits_until_the_ledger_has_an_answer(engine: Engine, registry: Registry) -> None:  # noqa: F811
    record(engine, registry, 0.1, 1, None)
    first, second = ask(engine, registry), ask(engine, registry, version=3)
    assert ask(engine, registry) == first
    assert approvals.list_waiting(engine, registry.model_name) == [first, second]
    assert aliases(registry) == (None, 1)

    entry = approvals.answer_request(
        engine, registry, "week-2", approve=True, responder="mai", reason=" lists look good "
    )
    assert (entry.action, entry.actor, entry.model_name) == ("promote", "user:mai", registry.model_name)
    assert entry.reason == f"approved: lists look good; the gate: {decide(0.1).reason}"
    assert entry.evidence["approval"] == {"approved": True, "responder": "mai", "reason": "lists look good"}
    assert aliases(registry) == (1, 2)
    assert approvals.list_waiting(engine, registry.model_name) == [second]
    # The first answer holds, whoever answers elsewhere.
    assert approvals.answer_request(engine, registry, "week-2", approve=False, responder="jo", reason="late") == entry
    assert aliases(registry) == (1, 2)
    with pytest.raises(StaleChampionError):
        approvals.answer_request(engine, registry, "week-3", approve=True, responder="mai", reason="that one too")
    assert find_inconsistencies(engine, registry) == []


def test_a_refusal_keeps_the_champion_and_says_who_and_why(engine: Engine, registry: Registry) -> None:  # noqa: F811
    record(engine, registry, 0.1, 1, None)
    ask(engine, registry)
    ask(engine, registry, version=3)
    refused = approvals.answer_request(engine, registry, "week-2", approve=False, responder="mai", reason="odd lists")
    assert (refused.action, refused.actor) == ("keep", "user:mai")
    nobody = approvals.answer_request(engine, registry, "week-3", approve=False, responder=None, reason="no answer")
    assert (nobody.action, nobody.actor) == ("keep", "gate")
    assert nobody.reason.startswith("not approved: no answer; the gate: ")
    assert aliases(registry) == (None, 1)
    # The gate said yes, the person no: MLflow shows both.
    registry.log(registry.read_version(2).run_id, metrics=decide(0.1).to_metrics())
    tags = registry.read_version(2).tags
    assert (tags["decision.action"], tags["decision.actor"], tags["decision.outcome"]) == ("keep", "user:mai", "better")
    assert find_inconsistencies(engine, registry) == []


def test_an_approved_equal_goes_on_with_the_chain(engine: Engine, registry: Registry) -> None:  # noqa: F811
    record(engine, registry, 0.1, 1, None)
    ask(engine, registry, lift=0.0)
    approvals.answer_request(engine, registry, "week-2", approve=True, responder="mai", reason="knows more users")
    assert select_anchor(promotion.read_ledger(engine), 2) == 1


def test_what_was_not_asked_or_has_no_reason_is_refused(engine: Engine, registry: Registry) -> None:  # noqa: F811
    record(engine, registry, 0.1, 1, None)
    ask(engine, registry)
    with pytest.raises(RetrainError, match="run 'week-9' does not wait for approval; those that do: week-2"):
        approvals.answer_request(engine, registry, "week-9", approve=True, responder="mai", reason="a typo")
    with pytest.raises(RetrainError, match="needs a reason"):
        approvals.answer_request(engine, registry, "week-2", approve=True, responder="mai", reason=" ")
    assert len(promotion.read_ledger(engine)) == 1


def test_of_many_answers_at_once_one_holds(engine: Engine, registry: Registry) -> None:  # noqa: F811
    record(engine, registry, 0.1, 1, None)
    ask(engine, registry)

    def answer(number: int) -> promotion.LedgerEntry:
        name, approve = f"user-{number}", number % 2 == 0
        return approvals.answer_request(engine, registry, "week-2", approve=approve, responder=name, reason="at once")

    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(answer, range(4)))
    assert len({entry.decision_id for entry in entries}) == 1
    assert aliases(registry) == ((1, 2) if entries[0].action == "promote" else (None, 1))
