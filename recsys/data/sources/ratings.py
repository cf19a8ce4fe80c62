"""Read the rating file of a source into ratings and statuses."""

import numpy as np
import pandas as pd

from recsys.columns import Columns
from recsys.data import contracts
from recsys.data.sources.detection import SourceFile
from recsys.data.sources.items import select_columns
from recsys.data.sources.layouts import Layout
from recsys.data.sources.reports import FileReport, OnProgress
from recsys.data.sources.rows import Refused, read_batches
from recsys.data.sources.statuses import NO_STATUS
from recsys.types import Ids, WatchStatus


def read_ratings(
    layout: Layout, file: SourceFile, counts: FileReport, known_items: Ids, report: OnProgress
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read ratings (`user_id`, `item_id`, `rating`) and statuses (`user_id`, `item_id`, `status`).

    An entry without a rating is among the statuses alone, a rating without a status among the ratings alone. Both are
    ascending by user and item; `status` is categorical, with the values of `WatchStatus`.
    """
    names = [*Columns.Interactions, *([Columns.Status] if Columns.Status in file.positions else [])]
    tables = []
    for batch in read_batches(file.path, file.n_columns):
        if layout.holds_names:
            batch.refused = list(map(_hide_content, batch.refused))
        counts.add(batch)
        batch.columns = select_columns(batch, file, names)
        checked = contracts.check_ratings(batch, known_items, layout.rules)
        counts.refused.extend(checked.refused)
        counts.unreadable.update(checked.unreadable)
        tables.append(checked.table)
        report("read ratings", int(batch.share_read * 100), 100)
    entries, repeated = contracts.select_last_ratings(pd.concat(tables, ignore_index=True))
    counts.refused.extend(repeated)
    return _divide(entries, counts)


def _hide_content(row: Refused) -> Refused:
    """Leave out the text of a row that could not be split into fields: a name may stand anywhere in it."""
    return row._replace(content="")


def _divide(entries: pd.DataFrame, counts: FileReport) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide list entries into ratings and statuses, and count those without a rating."""
    is_rated = entries[Columns.Rating].to_numpy() != contracts.UNRATED
    codes = entries[Columns.Status].to_numpy()
    counts.ingested, counts.unrated = int(is_rated.sum()), int((~is_rated).sum())
    numbers = np.bincount(codes[~is_rated], minlength=len(WatchStatus)).tolist()
    counts.statuses.update({status: n for status, n in zip(WatchStatus, numbers, strict=True) if n})
    has_status = codes != NO_STATUS
    statuses = entries.loc[has_status, Columns.UserItem].reset_index(drop=True)
    categories = pd.Index(list(map(str, WatchStatus)))
    statuses[Columns.Status] = pd.Categorical.from_codes(codes[has_status].astype(np.int8), categories)
    ratings = entries if is_rated.all() else entries[is_rated]
    return ratings[Columns.Interactions].reset_index(drop=True), statuses
