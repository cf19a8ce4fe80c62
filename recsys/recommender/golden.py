"""Golden requests: requests with the responses that a version gave when it was trained, stored with it.

They are repeated when the version is loaded. Another response means that files were exchanged, that the code computes
features differently by now, or that a library ranks differently: it is not the model that was evaluated.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.exceptions import ArtifactError
from recsys.files import UNREADABLE, read_json
from recsys.recommender.model import Recommender
from recsys.recommender.profile import Recommendations, UserProfile

FILE: Final = "golden_requests.json"
_LENGTH = 20
_TOLERANCE = 1e-3  # of a score or 1 if that is larger; far above what another processor rounds otherwise
_ONE_IN = 10  # titles may fall to the other side of a threshold


def write_golden_requests(recommender: Recommender, directory: Path) -> None:
    """Record responses for a new user, a user with tastes, three histories and similar titles; a step of training."""
    content = [
        {"request": request, "answer": _respond(recommender, request)} for request in _build_requests(recommender)
    ]
    (directory / FILE).write_text(json.dumps(content, indent=1))


def check_golden_requests(recommender: Recommender, directory: Path) -> int:
    """Repeat the golden requests of a version and return how many there are, 0 if it was stored without any.

    Raises
    ------
    ArtifactError
        If the file cannot be read or a response differs by more than rounding.
    """
    path = directory / FILE
    if not path.exists():
        return 0
    try:
        content = read_json(path)
        pairs = [(entry["request"], entry["answer"]) for entry in content]
        wrong = [request for request, answer in pairs if not is_same_response(_respond(recommender, request), answer)]
    except UNREADABLE as error:
        raise ArtifactError(f"{FILE} cannot be read: {error}") from error
    if wrong:
        raise ArtifactError(
            f"{len(wrong)} of {len(pairs)} golden requests differ from the recorded response, "
            f"the first is {json.dumps(wrong[0])}; train a new version with the code that runs here"
        )
    return len(pairs)


def _build_requests(recommender: Recommender) -> list[dict[str, Any]]:
    """Choose titles evenly over the catalog, so that equal catalogs get equal requests."""
    catalog = recommender.catalog
    item_ids = catalog.item_ids[np.linspace(0, len(catalog) - 1, 24).astype(np.intp)].tolist()
    item_ids = list(dict.fromkeys(item_ids))
    histories = [item_ids[:1], item_ids[1:5], item_ids[5:]]
    requests: list[dict[str, Any]] = [{"ratings": {}}]
    requests += [{"ratings": {str(item): 10 - place % 6 for place, item in enumerate(ids)}} for ids in histories if ids]
    requests += [{"genres": {genre: 1.0}} for genre in catalog.genres[:1]]
    return [*requests, {"similar_to": item_ids[0]}]


def _respond(recommender: Recommender, request: dict[str, Any]) -> dict[str, Any]:
    if "similar_to" in request:
        return _round(recommender.similar_items(int(request["similar_to"]), k=_LENGTH))
    given = {int(item_id): float(rating) for item_id, rating in request.get("ratings", {}).items()}
    profile = UserProfile(
        np.array(list(given), dtype=np.int64),
        np.array(list(given.values()), dtype=np.float32),
        request.get("genres", {}),
    )
    return _round(recommender.recommend(profile, k=_LENGTH))


def _round(found: Recommendations) -> dict[str, Any]:
    return {
        "item_ids": found.item_ids.tolist(),
        "scores": np.round(found.scores.astype(np.float64), 4).tolist(),
        "predicted_ratings": np.round(found.predicted_ratings.astype(np.float64), 4).tolist(),
    }


def is_same_response(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Compare two responses title by title: titles of equal score may change places, at the end of the list too.

    One title in ten may differ altogether: a feature that lies on the threshold of a tree takes the other branch where
    another processor rounds it the other way, and what changes there is a leaf and not a rounding.
    """
    n = len(expected["item_ids"])
    if len(found["item_ids"]) != n:
        return False
    scores, ratings = (
        dict(zip(expected["item_ids"], expected[n], strict=True)) for n in ("scores", "predicted_ratings")
    )
    last = expected["scores"][-1] if n else 0.0
    rows = zip(found["item_ids"], found["scores"], found["predicted_ratings"], strict=True)
    values = [*found["scores"], *found["predicted_ratings"], *expected["scores"], *expected["predicted_ratings"]]
    if not np.isfinite(np.array(values, dtype=np.float64)).all():
        return False
    n_other = sum(
        not (_is_close(score, scores.get(item_id, last)) and _is_close(rating, ratings.get(item_id, rating)))
        for item_id, score, rating in rows
    )
    return n_other <= n // _ONE_IN


def _is_close(value: float, expected: float) -> bool:
    return bool(abs(value - expected) <= _TOLERANCE * max(1.0, abs(expected)))
