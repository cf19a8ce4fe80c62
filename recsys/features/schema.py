"""The contract between training and serving: which features, in which order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from recsys.exceptions import ArtifactError, SchemaMismatchError
from recsys.files import read_json
from recsys.types import Positions


@dataclass(frozen=True)
class FeatureSchema:
    """Ordered feature names, grouped.

    Parameters
    ----------
    columns
        Names of the columns that each feature group yields, groups and columns in order;
        `ranking_features.GROUPS` knows how to compute each group.
    """

    columns: Mapping[str, tuple[str, ...]]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the feature groups."""
        return tuple(self.columns)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns, group after group."""
        return tuple(name for names in self.columns.values() for name in names)

    def select(self, groups: Sequence[str]) -> tuple["FeatureSchema", Positions]:
        """Keep some groups.

        Returns
        -------
        The smaller schema, and where its columns stand in a table of this one.

        Raises
        ------
        SchemaMismatchError
            Names the group that is not here.
        """
        if missing := next((group for group in groups if group not in self.columns), None):
            raise SchemaMismatchError(f"there are no features {missing!r} here, only {', '.join(self.groups)}")
        kept = FeatureSchema({group: self.columns[group] for group in groups})
        places = {name: place for place, name in enumerate(self.names)}
        return kept, np.array([places[name] for name in kept.names], dtype=np.intp)

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse features that differ from what the ranker was trained on.

        Raises
        ------
        SchemaMismatchError
            Names the first difference.
        """
        for position, (expected, actual) in enumerate(zip(self.names, names, strict=False)):
            if expected != actual:
                raise SchemaMismatchError(f"feature {position} is {actual!r} where the ranker expects {expected!r}")
        if len(names) != len(self.names):
            raise SchemaMismatchError(f"{len(names)} features where the ranker expects {len(self.names)}")

    def save(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps({"columns": self.columns}, indent=1))

    @classmethod
    def load(cls, path: Path) -> "FeatureSchema":
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If the file holds something else.
        """
        try:
            stored = read_json(path)["columns"]
            return cls({str(group): tuple(map(str, names)) for group, names in stored.items()})
        except (ArtifactError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path.name} is no feature schema: {error}") from error
