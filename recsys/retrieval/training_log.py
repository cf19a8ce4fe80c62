"""What a model that is trained in epochs keeps of its training: written beside it, shown by MLflow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recsys.exceptions import ArtifactError
from recsys.files import UNREADABLE, read_json


@dataclass(frozen=True)
class TrainingLog:
    """Curves and facts of one training.

    Parameters
    ----------
    curves
        By name, a value for each epoch.
    facts
        Single numbers, such as the epoch whose weights were kept.
    """

    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)

    def save(self, folder: Path, name: str) -> None:
        """Write `{name}.training.json`."""
        (folder / f"{name}.training.json").write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path, name: str) -> "TrainingLog":
        """Read what `save` wrote.

        Raises
        ------
        ArtifactError
            If the file is missing, truncated or holds something else.
        """
        path = folder / f"{name}.training.json"
        try:
            found = read_json(path)
            return cls(
                {str(curve): [float(value) for value in values] for curve, values in found["curves"].items()},
                {str(fact): float(value) for fact, value in found["facts"].items()},
            )
        except (ArtifactError, *UNREADABLE) as error:
            raise ArtifactError(f"{path.name} cannot be read: {error}") from error
