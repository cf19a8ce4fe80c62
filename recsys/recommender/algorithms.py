"""Which model makes a list: the ranker on top of all, or one generator alone."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from recsys.exceptions import UnknownAlgorithmError
from recsys.recommender.retrieve import Retriever
from recsys.retrieval.base import CandidateGenerator
from recsys.retrieval.content import TextProfile
from recsys.retrieval.popular import Popular

RANKER: Final = "ranker"
# Under which name a generator answers alone, if a version holds it.
GENERATORS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "user-user": "user_user",
        "content": TextProfile.name,
        "hybrid": "hybrid",
        "two-tower": "two_tower",
        "popular": Popular.name,
    }
)


def find_generators(retriever: Retriever) -> Mapping[str, CandidateGenerator]:
    """Return the generators that can answer alone, by algorithm, in the order of `GENERATORS`."""
    models = dict(retriever.first_stage.models)
    if TextProfile.name not in models:
        # It learns nothing from ratings, so that every version can have it.
        text = TextProfile(retriever.items.text_vectors)
        models[text.name] = text.fit(np.empty((0, 0)), retriever.items.catalog)
    return {algorithm: models[name] for algorithm, name in GENERATORS.items() if name in models}


def get_generator(generators: Mapping[str, CandidateGenerator], algorithm: str) -> CandidateGenerator:
    """Look an algorithm up.

    Raises
    ------
    UnknownAlgorithmError
        Names those that this version knows.
    """
    if algorithm not in generators:
        raise UnknownAlgorithmError(algorithm, [RANKER, *generators])
    return generators[algorithm]
