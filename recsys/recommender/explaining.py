"""Give reasons for the titles of a list, each checked against the model that made it."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import vstack

from recsys.data.interactions import POSITIVE_RATING
from recsys.features.pairs import Pairs
from recsys.ranking.explanations import GENRES, Reason, compute_contributions
from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations, UserProfile
from recsys.recommender.retriever import RANKER
from recsys.types import Floats, Ids, ItemId, Positions, RatingMatrix

MAX_REASONS: Final = 3
# Titles of the history that are tried for each recommendation, and for the whole list: each costs a scoring.
TRIED: Final = 3
MAX_TRIED: Final = 30
FAVOURITE_GENRES: Final = 5


def explain(
    recommender: Recommender, profile: UserProfile, found: Recommendations, algorithm: str = RANKER
) -> list[tuple[Reason, ...]]:
    """Give up to three reasons for each recommendation, the strongest first.

    Liked titles are cited only if the score falls without them: they are removed from the history one by one and the
    recommendation is scored again. What remains of the ranker's score is attributed to genres and to users with a
    similar history by the Shapley values of its trees; without a history popularity and stated genres are all there is.
    """
    if not len(found):
        return []
    positions = recommender.catalog.positions(found.item_ids)
    history, tastes = profile.to_history(recommender.catalog), profile.to_tastes(recommender.catalog)
    reasons: list[list[Reason]] = [[] for _ in positions]
    if algorithm != RANKER and not recommender.retriever.get_generator(algorithm).personal:
        # In a diverse list a score may be no more than the price of variety.
        reasons = [[Reason("popularity", _POPULAR, score)] if score > 0 else [] for score in found.scores.tolist()]
    elif history.nnz:
        for place, reason in _cite(recommender, history, tastes, positions, algorithm):
            reasons[place].append(reason)
    if algorithm == RANKER:
        for place, reason in _attribute(recommender, history, tastes, positions):
            reasons[place].append(reason)
    return [tuple(sorted(given, key=lambda reason: -reason.contribution)[:MAX_REASONS]) for given in reasons]


def explain_similar(recommender: Recommender, item_id: ItemId, item_ids: Ids) -> list[tuple[Reason, ...]]:
    """Explain why titles are similar to one title; the contributions add up to the score."""
    items, title = recommender.retriever.items, recommender.catalog.title(item_id)
    position = int(recommender.catalog.positions([item_id])[0])
    positions = recommender.catalog.positions(item_ids)
    audience = items.lightfm_units[positions] @ items.lightfm_units[position] / 2
    synopsis = items.text_units[positions] @ items.text_units[position] / 2
    found = [
        [
            Reason("audience", f"Liked by the same users as {title}.", float(one), item_id),
            Reason("synopsis", f"Similar synopsis to {title}.", float(other), item_id),
        ]
        for one, other in zip(audience, synopsis, strict=True)
    ]
    return [
        tuple(sorted((reason for reason in both if reason.contribution > 0), key=lambda reason: -reason.contribution))
        for both in found
    ]


_POPULAR: Final = "Popular with many users."
_COLLABORATIVE: Final = "Liked by users with similar taste."

Placed = tuple[int, Reason]


def _cite(
    recommender: Recommender, history: RatingMatrix, tastes: Floats, positions: Positions, algorithm: str
) -> list[Placed]:
    """Try liked titles that are near a recommendation; cite those without which its score falls."""
    if algorithm == RANKER and history.nnz == 1:
        return []  # without it there is no history, and lists without are in another order altogether
    trials = _choose_trials(recommender, history, positions)
    if not trials:
        return []
    whole = recommender.score(history, tastes, [positions], algorithm)
    candidates = [np.array([positions[place] for place in places], dtype=np.intp) for places in trials.values()]
    without = vstack([_remove(history, liked) for liked in trials], format="csr")
    scores = recommender.score(without, np.repeat(tastes, len(trials), axis=0), candidates, algorithm)
    cited, start = [], 0
    for liked, places in trials.items():
        item_id = int(recommender.catalog.item_ids[liked])
        text = _describe_liked(recommender.catalog.title(item_id), float(history[0, liked]))
        for place, score in zip(places, scores[start : start + len(places)], strict=True):
            if whole[place] > score:
                cited.append((place, Reason("liked_title", text, float(whole[place] - score), item_id)))
        start += len(places)
    return cited


def _describe_liked(title: str, rating: float) -> str:
    return f"You liked {title}." if rating >= POSITIVE_RATING else f"{title} is among your highest ratings."


def _choose_trials(recommender: Recommender, history: RatingMatrix, positions: Positions) -> dict[int, list[int]]:
    """Choose for each recommendation the nearest liked titles: places of recommendations by position of the title."""
    liked = history.indices[history.data >= min(POSITIVE_RATING, history.data.max())]
    nearness = _compare(recommender, positions, liked)
    nearest = np.argsort(-nearness, axis=1, kind="stable")[:, :TRIED]
    trials: dict[int, list[int]] = {}
    for rank in range(nearest.shape[1]):
        for place, chosen in enumerate(nearest[:, rank].tolist()):
            title = int(liked[chosen])
            if title in trials or len(trials) < MAX_TRIED:
                trials.setdefault(title, []).append(place)
    return trials


def _compare(recommender: Recommender, positions: Positions, liked: Positions) -> Floats:
    """Add item-item weights and cosines of recommendations and liked titles up, `(n_positions, n_liked)`."""
    items = recommender.retriever.items
    parts = [units[positions] @ units[liked].T for units in (items.lightfm_units, items.text_units)]
    parts += [matrix[positions][:, liked].toarray() for matrix in recommender.retriever.first_stage.supporters.values()]
    return np.asarray(sum(part / max(float(np.abs(part).max()), 1e-9) for part in parts), dtype=np.float32)


def _remove(history: RatingMatrix, position: int) -> RatingMatrix:
    rest = history.copy()
    rest.data[rest.indices == position] = 0.0
    rest.eliminate_zeros()
    return rest


def _attribute(recommender: Recommender, history: RatingMatrix, tastes: Floats, positions: Positions) -> list[Placed]:
    """Attribute the scores of the ranker's lists; what lowers a score is no reason."""
    pairs = recommender.retriever.describe(history, tastes, [positions])
    genres, collaborative, popularity = (part.tolist() for part in _split_scores(recommender, pairs))
    favourites = _find_favourite_genres(recommender, history, tastes)
    carried = recommender.catalog.genre_matrix > 0
    attributed: list[Placed] = []
    for place, position in enumerate(positions):
        shared = [genre for genre in favourites if carried[position, recommender.catalog.genres.index(genre)]]
        if genres[place] > 0 and shared:
            text = f"Matches genres you like: {' and '.join(shared[:2])}."
            attributed.append((place, Reason("genres", text, genres[place])))
        if collaborative[place] > 0:
            attributed.append((place, Reason("collaborative", _COLLABORATIVE, collaborative[place])))
        if popularity[place] > 0:
            attributed.append((place, Reason("popularity", _POPULAR, popularity[place])))
    return attributed


def _split_scores(recommender: Recommender, pairs: Pairs) -> tuple[npt.NDArray[np.floating], ...]:
    """Compute what genres, users with a similar history and popularity contribute to scores, `(n_pairs,)` each."""
    if not pairs.history.nnz:
        popularity, genres = recommender.retriever.score_cold_start(pairs)
        return genres, np.zeros_like(genres), popularity
    ranker = recommender.ranker
    collaborative = tuple(f"{name}_" for name in recommender.retriever.first_stage.collaborative)
    contributions = compute_contributions(
        ranker.relevance, ranker.schema, recommender.featurise(pairs), (GENRES, collaborative)
    )
    return contributions[:, 0], contributions[:, 1], np.zeros(len(contributions))


def _find_favourite_genres(recommender: Recommender, history: RatingMatrix, tastes: Floats) -> list[str]:
    """Return the stated genres, or those of most titles of the history, most liked first."""
    catalog = recommender.catalog
    weights = (history > 0).astype(np.float32) @ catalog.genre_matrix if history.nnz else tastes
    best = np.argsort(-np.asarray(weights)[0], kind="stable")[: FAVOURITE_GENRES if history.nnz else None]
    return [catalog.genres[column] for column in best if weights[0, column] > 0]
