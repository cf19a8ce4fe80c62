"""The contract between training and serving: which features, in which order."""

import json
from dataclasses import dataclass
from pathlib import Path

from recsys.exceptions import ArtifactError, SchemaMismatchError


@dataclass(frozen=True)
class FeatureSchema:
    """Ordered feature names, grouped.

    Parameters
    ----------
    groups
        Names of the feature groups, in order; `ranking_features.GROUPS` knows how to compute each.
    names
        Names of the columns, in the order in which the groups yield them.
    """

    groups: tuple[str, ...]
    names: tuple[str, ...]

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
        path.write_text(json.dumps({"groups": self.groups, "names": self.names}, indent=1))

    @classmethod
    def load(cls, path: Path) -> "FeatureSchema":
        """Read what `save` wrote."""
        try:
            stored = json.loads(path.read_text())
            return cls(tuple(stored["groups"]), tuple(stored["names"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path.name} is no feature schema: {error}") from error
