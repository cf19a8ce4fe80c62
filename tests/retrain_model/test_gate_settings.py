"""The rules of the gate come from settings, and from what a run sets otherwise."""

import pytest
from pydantic import ValidationError

from recsys.exceptions import ConfigurationError
from recsys.gate.gate import PromotionGate
from recsys.ranking.params import get_preset
from recsys.retrieval.registry import make_model
from recsys.retrieval.spec import ModelInputs
from recsys.settings import Settings
from retrain_model.job import build_gate, build_params, build_preset


def test_the_default_settings_are_the_default_rules() -> None:
    assert build_gate(Settings()) == PromotionGate()


def test_every_rule_but_the_floors_can_be_set() -> None:
    settable = {name.removeprefix("gate_") for name in Settings.model_fields if name.startswith("gate_")}
    assert set(PromotionGate().to_dict()) - settable == {"splits_floor", "values_floor"}


def test_variables_set_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTAKU_GATE_MARGIN", "0.02")
    monkeypatch.setenv("OTAKU_GATE_COST_RATIO", "5")
    rules = build_gate(Settings())
    assert (rules.margin, rules.limits.cost_ratio, rules.alpha) == (0.02, 5.0, 0.05)
    changed = build_gate(Settings(), {"margin": 0.03, "overlap": 0.5})
    assert (changed.margin, changed.limits.overlap, changed.limits.cost_ratio) == (0.03, 0.5, 5.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margn": 0.1}, "no setting margn; choose among alpha"),
        ({"margin": -0.1}, "gate setting margin is -0.1"),
        ({"min_test_users": 1}, "gate setting min_test_users is 1"),
        ({"alpha": "much"}, "gate setting alpha is 'much'"),
    ],
)
def test_a_wrong_rule_is_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_gate(Settings(), changes)


def test_models_beside_the_first_stage_are_chosen_and_weighed_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTAKU_ALGORITHMS", "hybrid, content")
    monkeypatch.setenv("OTAKU_HYBRID_WEIGHTS", "2,0,0.5")
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings.algorithms == ("hybrid", "content")
    weighed = {"hybrid": {"user_weight": 2.0, "title_weight": 0.0, "content_weight": 0.5}}
    assert build_params(settings) == weighed
    monkeypatch.setenv("OTAKU_MF_MIN_RATINGS", "400")
    active = build_params(Settings(_env_file=None))  # type: ignore[call-arg]
    assert active == weighed | {"mf": {"min_ratings": 400}}
    assert make_model("mf", ModelInputs(params=active)).min_ratings == 400  # type: ignore[attr-defined]
    monkeypatch.delenv("OTAKU_MF_MIN_RATINGS")
    monkeypatch.setenv("OTAKU_ALGORITHMS", "none")
    monkeypatch.delenv("OTAKU_HYBRID_WEIGHTS")
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert settings.algorithms == ()
    assert build_params(settings) == {}
    monkeypatch.setenv("OTAKU_HYBRID_WEIGHTS", "2,much,1")
    with pytest.raises(ValidationError, match="hybrid_weights"):
        Settings(_env_file=None)  # type: ignore[call-arg]


def test_number_and_losses_of_the_boosters_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("default", "original"):
        assert build_preset(name, Settings(_env_file=None)) == get_preset(name)  # type: ignore[call-arg]
    monkeypatch.setenv("OTAKU_RELEVANCE_LOSSES", "binary, lambdarank")
    monkeypatch.setenv("OTAKU_RELEVANCE_BOOSTERS", "3")
    preset = build_preset("default", Settings(_env_file=None))  # type: ignore[call-arg]
    assert [member.objective for member in preset.list_members()] == ["binary", "lambdarank"] * 3


@pytest.mark.parametrize(
    ("name", "value"), [("LOSSES", "hinge"), ("LOSSES", ","), ("BOOSTERS", "0"), ("BOOSTERS", "17")]
)
def test_wrong_boosters_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OTAKU_RELEVANCE_{name}", value)
    with pytest.raises(ValidationError, match=f"relevance_{name.lower()}"):
        Settings(_env_file=None)  # type: ignore[call-arg]
