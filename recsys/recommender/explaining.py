"""Give reasons for the titles of a list, each checked against the model that made it."""

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import POSITIVE_RATING
from recsys.features.pairs import Pairs
from recsys.ranking.explanations import GENRES, Kind, Reason, compute_contributions
from recsys.recommender.folded_user import FoldedUser
from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations, UserProfile
from recsys.recommender.retriever import RANKER
from recsys.types import Floats, Ids, ItemId, Positions, RatingMatrix

MAX_REASONS: Final = 3
# Titles of the history that are tried for each recommendation, and for the whole list: each costs a scoring.
TRIED: Final = 3
MAX_TRIED: Final = 30
MAX_TRIED_AGAINST: Final = 10
DISLIKED_RATING: Final = 4.0
FAVOURITE_GENRES: Final = 5


def explain(
    recommender: Recommender, profile: UserProfile | FoldedUser, found: Recommendations, algorithm: str = RANKER
) -> list[tuple[Reason, ...]]:
    """Give up to three reasons for each recommendation, the strongest first.

    Liked titles are cited only if the score falls without them: they are removed from the history one by one and the
    recommendation is scored again. What remains of the ranker's score is attributed to genres and to users with a
    similar history by the Shapley values of its trees; without a history popularity and stated genres are all there is.
    Titles rated 4 or less are cited the same way against a recommendation, where its score rises without them. Where
    nothing of this speaks for a title of the ranker, the family of features that carries it is named.
    """
    if not len(found):
        return []
    positions = recommender.catalog.positions(found.item_ids)
    user = profile if isinstance(profile, FoldedUser) else recommender.fold(profile)
    history = user.history
    reasons: list[list[Reason]] = [[] for _ in positions]
    if algorithm != RANKER and not recommender.retriever.get_generator(algorithm).personal:
        # In a diverse list a score may be no more than the price of variety.
        reasons = [[Reason("popularity", _POPULAR, score)] if score > 0 else [] for score in found.scores.tolist()]
    elif history.nnz:
        for place, reason in _cite(recommender, user, positions, algorithm):
            reasons[place].append(reason)
    if algorithm == RANKER:
        for place, reason in _attribute(recommender, user, positions):
            reasons[place].append(reason)
        bare = [place for place, given in enumerate(reasons) if not any(one.contribution > 0 for one in given)]
        for place, reason in _name_carriers(recommender, user, positions, bare):
            reasons[place].append(reason)
    return [_select_reasons(given) for given in reasons]


def _select_reasons(given: list[Reason]) -> tuple[Reason, ...]:
    """Choose three reasons at most, one of them against at most, the strongest for a title first."""
    ordered = sorted(given, key=lambda reason: -reason.contribution)
    against = [reason for reason in ordered if reason.contribution < 0][-1:]
    return (*[reason for reason in ordered if reason.contribution >= 0][: MAX_REASONS - len(against)], *against)


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


def _cite(recommender: Recommender, user: FoldedUser, positions: Positions, algorithm: str) -> list[Placed]:
    """Try liked titles that are near a recommendation; cite those without which its score falls."""
    history = user.history
    if algorithm == RANKER and history.nnz == 1:
        return []  # without it there is no history, and lists without are in another order altogether
    liked = history.indices[history.data >= min(POSITIVE_RATING, history.data.max())]
    disliked = history.indices[(history.data <= DISLIKED_RATING) & (history.data < history.data.max())]
    trials = _choose_trials(recommender, positions, liked, TRIED, MAX_TRIED)
    trials |= _choose_trials(recommender, positions, disliked, 1, MAX_TRIED_AGAINST)
    if not trials:
        return []
    candidates = [np.array([positions[place] for place in places], dtype=np.intp) for places in trials.values()]
    removed = np.fromiter(trials, dtype=np.intp, count=len(trials))
    whole, scores = recommender.score_without(user, positions, removed, candidates, algorithm)
    cited, start = [], 0
    likes = set(liked.tolist())
    for rated, places in trials.items():
        item_id = int(recommender.catalog.item_ids[rated])
        text = _describe_rated(recommender.catalog.title(item_id), float(history[0, rated]))
        for place, score in zip(places, scores[start : start + len(places)], strict=True):
            fall = float(whole[place] - score)
            if fall > 0 and rated in likes:
                cited.append((place, Reason("liked_title", text, fall, item_id)))
            elif fall < 0 and rated not in likes:
                cited.append((place, Reason("disliked_title", text, fall, item_id)))
        start += len(places)
    return cited


def _describe_rated(title: str, rating: float) -> str:
    if rating >= POSITIVE_RATING:
        return f"You liked {title}."
    if rating <= DISLIKED_RATING:
        return f"You rated {title} {rating:.0f}."
    return f"{title} is among your highest ratings."


def _choose_trials(
    recommender: Recommender, positions: Positions, rated: Positions, n_tried: int, max_tried: int
) -> dict[int, list[int]]:
    """Choose for each recommendation the nearest of some rated titles: places of recommendations by their position."""
    if not len(rated):
        return {}
    nearness = _compare(recommender, positions, rated)
    nearest = np.argsort(-nearness, axis=1, kind="stable")[:, :n_tried]
    trials: dict[int, list[int]] = {}
    for rank in range(nearest.shape[1]):
        for place, chosen in enumerate(nearest[:, rank].tolist()):
            title = int(rated[chosen])
            if title in trials or len(trials) < max_tried:
                trials.setdefault(title, []).append(place)
    return trials


def _compare(recommender: Recommender, positions: Positions, liked: Positions) -> Floats:
    """Add item-item weights and cosines of recommendations and liked titles up, `(n_positions, n_liked)`."""
    items = recommender.retriever.items
    parts = [units[positions] @ units[liked].T for units in (items.lightfm_units, items.text_units)]
    parts += [
        support.supporters[positions][:, liked].toarray()
        for support in recommender.retriever.first_stage.support.values()
    ]
    return np.asarray(sum(part / max(float(np.abs(part).max()), 1e-9) for part in parts), dtype=np.float32)


def _attribute(recommender: Recommender, user: FoldedUser, positions: Positions) -> list[Placed]:
    """Attribute the scores of the ranker's lists; what lowers a score is no reason."""
    pairs = recommender.retriever.describe(user.history, user.tastes, [positions], user.scores)
    genres, collaborative, popularity = (part.tolist() for part in _split_scores(recommender, pairs))
    favourites = _find_favourite_genres(recommender, user.history, user.tastes)
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
    contributions = compute_contributions(ranker, recommender.featurise(pairs), (GENRES, collaborative))
    return contributions[:, 0], contributions[:, 1], np.zeros(len(contributions))


def _name_carriers(recommender: Recommender, user: FoldedUser, positions: Positions, bare: list[int]) -> list[Placed]:
    """Name the family of features that adds most to the scores of titles without a reason, by Shapley values."""
    if not bare:
        return []
    pairs = recommender.retriever.describe(user.history, user.tastes, [positions[bare]], user.scores)
    if not user.history.nnz:
        scores = np.add(*recommender.retriever.score_cold_start(pairs)).tolist()
        return [(place, Reason("popularity", _POPULAR, score)) for place, score in zip(bare, scores, strict=True)]
    ranker, stage = recommender.ranker, recommender.retriever.first_stage
    collaborative = (*(f"{name}_" for name in stage.collaborative), "lightfm_", "neighbour")
    families = (collaborative, GENRES, (f"{stage.fallback}_", "item_log_members", "item_favorites"))
    found = compute_contributions(ranker, recommender.featurise(pairs), families)
    named: tuple[tuple[Kind, str], ...] = (
        ("collaborative", "Carried by what users with a similar history like."),
        ("genres", "Carried by its genres."),
        ("popularity", "Carried by how many users watch it."),
    )
    carriers = []
    for row, place in enumerate(bare):
        family = int(found[row].argmax())
        kind, text = named[family]
        carriers.append((place, Reason(kind, text, max(float(found[row, family]), 0.0))))
    return carriers


def _find_favourite_genres(recommender: Recommender, history: RatingMatrix, tastes: Floats) -> list[str]:
    """Return the stated genres, or those of most titles of the history, most liked first."""
    catalog = recommender.catalog
    weights = (history > 0).astype(np.float32) @ catalog.genre_matrix if history.nnz else tastes
    best = np.argsort(-np.asarray(weights)[0], kind="stable")[: FAVOURITE_GENRES if history.nnz else None]
    return [catalog.genres[column] for column in best if weights[0, column] > 0]
