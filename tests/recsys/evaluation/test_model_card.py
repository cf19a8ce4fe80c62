import numpy as np
import pandas as pd
import pytest

from recsys.evaluation.model_card import CardFacts, build_card, select_slices
from recsys.gate.decision import Decision
from recsys.gate.gate import PromotionGate
from recsys.gate.scorecard import Scorecard

N_USERS = 90


@pytest.fixture
def table() -> pd.DataFrame:
    """Ninety users: thirty of each length of history, the last ten new; a challenger and popularity."""
    rng = np.random.default_rng(3)
    users = pd.DataFrame(
        {
            "user_id": np.arange(N_USERS),
            "n_history": np.repeat([20, 100, 101], 30),
            "arrived": np.arange(N_USERS) >= 80,
            "generated": np.arange(N_USERS) >= 85,
            "recall_at_10": 0.5,
        }
    )
    ndcg = np.repeat([0.2, 0.4, 0.6], 30)
    challenger = users.assign(model="challenger", ndcg_at_10=ndcg, mae=rng.uniform(0.5, 1.5, N_USERS))
    popular = users.assign(model="popular", ndcg_at_10=ndcg / 2, mae=np.nan)
    return pd.concat([challenger, popular], ignore_index=True)


def decide(table: pd.DataFrame) -> Decision:
    cards = {
        str(name): Scorecard(rows["user_id"].to_numpy(), rows["ndcg_at_10"].to_numpy())
        for name, rows in table.groupby("model")
    }
    return PromotionGate().decide(cards["challenger"], None, cards["popular"])


def make_card(table: pd.DataFrame) -> str:
    facts = CardFacts("anime", 7, "2026-01-11", {"snapshot": "abc"}, {"seed": 0, "text | model": "mini"})
    return build_card(facts, table, decide(table), subject="challenger", rng=np.random.default_rng(0))


def read_row(card: str, name: str) -> list[str]:
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_slices_cut_where_they_say(table: pd.DataFrame) -> None:
    own = table[table["model"] == "challenger"]
    found = {name: int(mask.sum()) for name, mask in select_slices(own).items()}
    assert found == {
        "history of up to 20": 30,
        "history of 21 to 100": 30,
        "history of more than 100": 30,
        "new arrivals": 10,
        "generated users": 5,
    }


def test_the_card_shows_each_slice_with_its_interval(table: pd.DataFrame) -> None:
    card = make_card(table)
    assert card.startswith("# anime, version 7\n")
    assert read_row(card, "history of up to 20")[1:3] == ["30", "0.2000 (0.2000 to 0.2000)"]
    assert read_row(card, "history of more than 100")[1:3] == ["30", "0.6000 (0.6000 to 0.6000)"]
    _, n_users, ndcg, load_last_good, error = read_row(card, "**this model**")
    assert (n_users, ndcg[:6], load_last_good) == ("90", "0.4000", "0.5000 (0.5000 to 0.5000)")
    assert 0.5 < float(error[:6]) < 1.5
    assert read_row(card, "popular")[4] == "-"
    assert decide(table).reason in card
    assert "**promote** (beats popularity)" in card
    assert "text \\| model" in card


def test_a_slice_without_anybody_is_shown_as_empty(table: pd.DataFrame) -> None:
    card = make_card(table.assign(arrived=False))
    assert read_row(card, "new arrivals") == ["new arrivals", "0", "-", "-", "-"]


def test_the_same_numbers_give_the_same_card(table: pd.DataFrame) -> None:
    assert make_card(table) == make_card(table)
