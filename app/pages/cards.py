"""The cards of a list: what is told about each title, in the language of the visitor."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from app.models.serving import ServingModel
from app.pages.preferences import Preferences
from app.schemas.items import Item
from app.schemas.recommendations import RecommendationReason, RecommendedItem, SeasonBefore

CLIPPED_SENTENCES: Final = 2
MIN_CLIPPED: Final = 90  # letters; shorter sentences are joined by the next one
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…。])[\"”')]*\s+(?=\S)")


@dataclass(frozen=True)
class ShownReason:
    """A reason in words; `is_against` for one that lowers the score, `item_id` for a title that it cites."""

    kind: str
    text: str
    is_against: bool = False
    item_id: int | None = None


@dataclass(frozen=True)
class Card:
    """One title of a list.

    Parameters
    ----------
    title, other_titles
        In the chosen language, and the other ones.
    lead, rest
        The first two sentences of the synopsis, and what follows them.
    unseen_before
        Titles of earlier seasons that the visitor has not watched.
    """

    rank: int
    item: Item
    title: str
    other_titles: tuple[str, ...]
    predicted: float | None
    reasons: tuple[ShownReason, ...]
    lead: str
    rest: str
    unseen_before: tuple[str, ...] = ()


def build_cards(
    model: ServingModel,
    found: Sequence[RecommendedItem],
    preferences: Preferences,
    *,
    length: int,
    hidden: Collection[int] = (),
) -> list[Card]:
    """Build the cards of a list without titles that the visitor put aside."""
    shown = [entry for entry in found if entry.item_id not in hidden]
    return [
        build_card(model, entry.item_id, preferences, rank, entry.predicted_rating, entry.reasons, entry.unseen_before)
        for rank, entry in enumerate(shown[:length], start=1)
    ]


def build_card(
    model: ServingModel,
    item_id: int,
    preferences: Preferences,
    rank: int = 1,
    predicted: float | None = None,
    reasons: Sequence[RecommendationReason] = (),
    unseen_before: Sequence[SeasonBefore] = (),
) -> Card:
    """Build the card of one title."""
    item = model.item_views.show_item(item_id)
    title = preferences.choose_title(item)
    names = (item.title, item.title_english, item.title_japanese)
    lead, rest = clip_synopsis(item.synopsis or "")
    return Card(
        rank=rank,
        item=item,
        title=title,
        other_titles=tuple(dict.fromkeys(name for name in names if name and name != title)),
        predicted=predicted,
        reasons=tuple(_show_reason(model, reason, preferences) for reason in reasons),
        lead=lead,
        rest=rest,
        unseen_before=tuple(
            preferences.choose_title(model.item_views.show_item(season.item_id)) for season in unseen_before
        ),
    )


def _show_reason(model: ServingModel, reason: RecommendationReason, preferences: Preferences) -> ShownReason:
    text = reason.text
    if reason.item_id is not None:
        item = model.item_views.show_item(reason.item_id)
        text = text.replace(item.title, preferences.choose_title(item))
    return ShownReason(reason.kind, text, reason.contribution < 0, reason.item_id)


def clip_synopsis(synopsis: str) -> tuple[str, str]:
    """Split a synopsis after its second sentence, or a later one where both are short.

    >>> clip_synopsis("Spike hunts. Jet cooks. " + "The crew of the Bebop is broke and hungry as ever. " * 3)[1]
    'The crew of the Bebop is broke and hungry as ever.'
    """
    text = " ".join(synopsis.split())
    ends = [match.end() for match in _SENTENCE_END.finditer(text)][CLIPPED_SENTENCES - 1 :]
    end = next((place for place in ends if place >= MIN_CLIPPED), len(text))
    return text[:end].strip(), text[end:].strip()
