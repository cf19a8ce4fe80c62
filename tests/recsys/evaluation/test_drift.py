"""Drift statistics on samples whose distance is known."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recsys.data.catalog import Catalog
from recsys.data.interactions import Interactions
from recsys.evaluation.drift import (
    CHANCE,
    DriftLimits,
    DriftReport,
    Level,
    ReferenceProfile,
    build_profile,
    compute_drift,
    compute_psi,
    compute_psi_by_chance,
    count_by_quantiles,
)
from recsys.evaluation.drift_plots import describe_drift, plot_drift
from tests.factories import tiny_catalog, tiny_world

CATALOG, INTERACTIONS = tiny_world()
LIMITS = DriftLimits()
counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=12).map(lambda values: np.array(values, dtype=float))


def draw_profile(rng: np.random.Generator, n_users: int, *, mean: float = 7.0, genre: float = 0.5) -> ReferenceProfile:
    """Users with about 20 ratings each, of two genres."""
    ratings = np.clip(rng.normal(mean, 1.0, size=(n_users, 20)).round(), 1, 10)
    shares = np.clip(rng.normal(genre, 0.1, size=n_users), 0, 1)
    return ReferenceProfile(
        n_ratings=rng.poisson(20, n_users).astype(float) + 1,
        mean_rating=ratings.mean(axis=1),
        genre_shares=np.column_stack([shares, 1 - shares]),
        rating_counts=np.bincount(ratings.ravel().astype(int), minlength=11)[1:].astype(float),
        genres=("Action", "Drama"),
    )


def compare(reference: ReferenceProfile, current: ReferenceProfile, **values: float) -> DriftReport:
    measured = {"unknown_share": 0.0, "age_days": 7, **values}
    return compute_drift(reference, current, limits=LIMITS, **measured)  # type: ignore[arg-type]


def test_psi_of_known_histograms() -> None:
    # (0.8 - 0.5) ln(0.8 / 0.5) + (0.2 - 0.5) ln(0.2 / 0.5), up to the half counts.
    moved = compute_psi(np.array([5e6, 5e6]), np.array([8e6, 2e6]))
    assert moved == pytest.approx(0.3 * np.log(1.6) + 0.3 * np.log(2.5), abs=1e-5)
    assert compute_psi(np.array([3.0, 0.0]), np.array([0.0, 3.0])) < np.inf


@given(counts, st.data())
def test_psi_is_symmetric_and_never_negative(first: np.ndarray, data: st.DataObject) -> None:
    second = data.draw(st.permutations(first.tolist()).map(np.array))
    assert compute_psi(first, second) >= 0
    assert compute_psi(first, second) == pytest.approx(compute_psi(second, first))
    assert compute_psi(first, first) == 0


def test_chance_reaches_its_limit_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    n_reference, n_current, n_trials = 4000, 300, 4000
    expected = rng.multinomial(n_reference, np.full(10, 0.1), size=n_trials).astype(float)
    found = rng.multinomial(n_current, np.full(10, 0.1), size=n_trials).astype(float)
    limit = compute_psi_by_chance(10, n_reference, n_current)
    assert limit is not None
    above = sum(compute_psi(a, b) > limit for a, b in zip(expected, found, strict=True))
    assert above <= stats.binom.ppf(0.999, n_trials, 3 * CHANCE)
    median = float(stats.chi2.ppf(0.5, 9)) * (1 / n_reference + 1 / n_current)
    share = np.mean([compute_psi(a, b) > median for a, b in zip(expected, found, strict=True)])
    assert share == pytest.approx(0.5, abs=0.05)


def test_the_same_population_is_stable_whatever_the_size_of_the_sample() -> None:
    rng = np.random.default_rng(5)
    reference = draw_profile(rng, 3000)
    for n_users in (60, 400, 3000):
        report = compare(reference, draw_profile(rng, n_users))
        assert report.breaches == ()
        assert {found.level for found in report.features} <= {Level.Stable, Level.Shifting}


@pytest.mark.parametrize(
    ("change", "drifted"), [({"mean": 5.5}, {"mean rating", "ratings given"}), ({"genre": 0.9}, {"genre mix"})]
)
def test_what_moved_is_named(change: dict[str, float], drifted: set[str]) -> None:
    rng = np.random.default_rng(6)
    report = compare(draw_profile(rng, 2000), draw_profile(rng, 300, **change))
    assert {found.name for found in report.features if found.level is Level.Drifted} == drifted
    assert len(report.breaches) == len(drifted)
    for found in report.features:
        if found.name in drifted and found.p_value is not None:
            assert found.p_value < 1e-6
            assert found.ks is not None
            assert found.ks > 0.5


def test_few_users_give_no_verdict_and_nobody_is_no_error() -> None:
    rng = np.random.default_rng(7)
    report = compare(draw_profile(rng, 2000), draw_profile(rng, LIMITS.min_users - 1, mean=3.0, genre=1.0))
    assert {found.level for found in report.features} == {Level.TooFew}
    assert report.breaches == ()
    empty = build_profile(Interactions(INTERACTIONS.table.head(0)), CATALOG)
    report = compare(build_profile(INTERACTIONS, CATALOG), empty)
    assert (report.n_current, report.breaches) == (0, ())
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["features"][0]["psi_by_chance"] is None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [({"unknown_share": 0.06}, "6.0% of the ratings are about titles"), ({"age_days": 36}, "newer than 36 days")],
)
def test_unknown_titles_and_old_models_are_breaches(values: dict[str, float], sentence: str) -> None:
    rng = np.random.default_rng(8)
    reference = draw_profile(rng, 2000)
    (breach,) = compare(reference, draw_profile(rng, 100), **values).breaches
    assert sentence in breach
    assert compare(reference, draw_profile(rng, 100), unknown_share=0.05, age_days=35).breaches == ()


def test_quantile_bins_are_tenths_and_equal_values_share_one() -> None:
    expected, found = count_by_quantiles(np.arange(1000.0), np.array([0.0, 0.0, 999.0]))
    assert expected.tolist() == pytest.approx([100] * 10, abs=1)
    assert found.tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    expected, found = count_by_quantiles(np.full(50, 7.0), np.array([7.0, 8.0]))
    assert (expected.tolist(), found.tolist()) == ([50, 0], [1, 1])


def test_a_profile_counts_what_the_ratings_say() -> None:
    catalog: Catalog = tiny_catalog()
    table = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 19, 1], "rating": [10, 4, 7]})
    profile = build_profile(Interactions(table), catalog)
    assert profile.n_ratings.tolist() == [2, 1]
    assert profile.mean_rating.tolist() == [7, 7]
    assert profile.rating_counts.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    mix = dict(zip(profile.genres, profile.genre_mix.tolist(), strict=True))
    assert {genre: n for genre, n in mix.items() if n} == {"Action": 2, "Space": 2, "Drama": 1, "Mystery": 1}


def test_page_and_picture_tell_the_same_numbers() -> None:
    rng = np.random.default_rng(9)
    reference, current = draw_profile(rng, 2000), draw_profile(rng, 300, mean=5.5)
    report = compare(reference, current)
    page = describe_drift(report, {"day": "2026-02-01"}, picture="drift.png")
    for found in report.features:
        assert f"| {found.name} | {found.psi:.3f} | " in page
    assert f"**{'; '.join(report.breaches)}.**" in page
    assert "](drift.png)" in page
    figure = plot_drift(reference, current, report)
    figure.draw_without_rendering()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{found.name}: PSI {found.psi:.3f}, {found.level}" for found in report.features]
