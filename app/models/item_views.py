"""Response views of items: catalog columns as plain lists, since reading pandas cells is slower than ranking."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from app.schemas.items import Item
from app.schemas.recommendations import RecommendationReason, RecommendedItem, SeasonBefore
from recsys.columns import ItemColumns
from recsys.data.catalog import Catalog
from recsys.ranking.explanations import Reason
from recsys.recommender import Recommendations

_TEXTS = [name for name in ItemColumns.Texts if name != ItemColumns.Title]
_COUNTS = [ItemColumns.Episodes, ItemColumns.Members]


@dataclass(frozen=True)
class ItemViews:
    """Response fields of all items, by catalog position."""

    catalog: Catalog
    columns: dict[str, list[Any]]

    @classmethod
    def build(cls, catalog: Catalog) -> "ItemViews":
        """Convert the columns of a catalog; missing values become None."""
        items = catalog.items
        columns: dict[str, list[Any]] = {ItemColumns.Title: [str(title) for title in items[ItemColumns.Title]]}
        for name in _TEXTS:
            columns[name] = [text if isinstance(text, str) else None for text in items[name]]
        for name in ItemColumns.Lists:
            columns[name] = [[str(value) for value in values] for values in items[name]]
        for name in (*_COUNTS, ItemColumns.MeanScore):
            columns[name] = [_to_number(value, whole=name in _COUNTS) for value in items[name]]
        columns["year"] = [getattr(day, "year", None) for day in items[ItemColumns.AiredFrom]]
        return cls(catalog, columns)

    def show_item(self, item_id: int) -> Item:
        """Return the view of one item.

        Raises
        ------
        UnknownItemError
            If the catalog does not hold it.
        """
        position = int(self.catalog.positions([item_id])[0])
        shown = {name: values[position] for name, values in self.columns.items() if name in Item.model_fields}
        return Item(item_id=item_id, **shown)

    def show_recommendations(
        self,
        found: Recommendations,
        reasons: Sequence[Sequence[Reason]] | None = None,
        unseen_before: Sequence[Sequence[int]] | None = None,
    ) -> list[RecommendedItem]:
        """Return the views of a list, best first, with reasons and ids of unseen earlier seasons if given."""
        columns = self.columns
        positions = self.catalog.positions(found.item_ids).tolist()
        rows = zip(
            found.item_ids.tolist(), positions, found.scores.tolist(), found.predicted_ratings.tolist(), strict=True
        )
        return [
            RecommendedItem(
                rank=rank,
                item_id=item_id,
                title=columns[ItemColumns.Title][position],
                genres=columns[ItemColumns.Genres][position],
                type=columns[ItemColumns.Type][position],
                synopsis=columns[ItemColumns.Synopsis][position],
                predicted_rating=_to_number(rating, whole=False),
                score=score,
                reasons=[_show_reason(reason) for reason in reasons[rank - 1]] if reasons else [],
                unseen_before=self._show_before(unseen_before[rank - 1]) if unseen_before else [],
            )
            for rank, (item_id, position, score, rating) in enumerate(rows, start=1)
        ]

    def _show_before(self, item_ids: Sequence[int]) -> list[SeasonBefore]:
        titles = self.titles(item_ids) if item_ids else ()
        return [SeasonBefore(item_id=item_id, title=title) for item_id, title in zip(item_ids, titles, strict=True)]

    def titles(self, item_ids: npt.ArrayLike) -> list[str]:
        """Return the default titles of items of the catalog."""
        titles = self.columns[ItemColumns.Title]
        return [str(titles[position]) for position in self.catalog.positions(item_ids).tolist()]

    def title(self, item_id: int) -> str:
        """Return the default title of an item of the catalog."""
        return self.titles([item_id])[0]


def _show_reason(reason: Reason) -> RecommendationReason:
    return RecommendationReason(
        kind=reason.kind, text=reason.text, contribution=reason.contribution, item_id=reason.item_id
    )


def _to_number(value: Any, *, whole: bool) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if whole else float(value)
