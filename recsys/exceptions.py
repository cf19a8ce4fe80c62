"""Every error that the platform raises on purpose.

RecsysError
├── ConfigurationError      a setting is missing or wrong; names it
├── DataContractError       input that breaks a contract
│   ├── SourceLayoutError   a file or folder is not in a known layout
│   ├── WatchListError      a watch list cannot be read
│   │   └── WatchListTooLargeError  it is larger than what is read
│   └── EmptyCatalogError   nothing to recommend
│       └── NothingIngestedError  the database holds nothing yet
│           └── QueueNotStartedError  nobody arrives as early as that day
├── UnknownItemError        an item id that the catalog does not hold
├── UnknownTitleError       a title that matches nothing; carries suggestions
├── UnknownUserError        a user id without any record
├── IdempotencyKeyReusedError  a client sent a known key with other content
├── UnknownAlgorithmError   an algorithm that the model version does not hold; carries those it does
├── SchemaMismatchError     features differ from what the ranker was trained on
├── UnsupportedForestError  trees of a kind that only LightGBM itself can evaluate
├── NotFittedError          used before `fit`
├── ArtifactError           a stored artefact is missing, truncated or altered
│   └── OtherFormatError    a model version that another version of this code can read
├── NoProductionModelError  nothing has been promoted yet
├── RegistryError           MLflow refuses a request, and would refuse it again
│   ├── UnknownVersionError a model version that the registry does not hold
│   └── MissingProductionVersionError  the version in Production was deleted from the registry
├── ArrivalError            a cohort cannot arrive
├── EvaluationError         no user or model to evaluate
├── RetrainError            a retraining step cannot go on
│   ├── ChangedInputsError  code or settings changed between two steps of a run
│   ├── StaleChampionError  another version took over in the meantime
│   └── UnfinishedDayError  a day to which users may still be added
└── ServiceUnavailableError a part that is needed does not answer
    └── MachineError        a disk is full, memory is short, or a right is missing
"""

from collections.abc import Sequence
from typing import Final

# Exit code of a job that has nothing to work on yet; operators of Airflow read it as "skipped", not as "failed".
EXIT_NOT_YET: Final = 99


class RecsysError(Exception):
    """Base of all errors raised on purpose; the message names the value and the remedy."""


class ConfigurationError(RecsysError):
    """A setting is missing, malformed or contradicts another."""


class DataContractError(RecsysError):
    """Input breaks a contract that nothing downstream can repair."""


class SourceLayoutError(DataContractError):
    """A file or folder is not in one of the known layouts."""


class WatchListError(DataContractError):
    """The export of a watch list cannot be read."""


class WatchListTooLargeError(WatchListError):
    """A watch list has more bytes or entries than are read."""


class EmptyCatalogError(DataContractError):
    """There is no item to recommend."""


class NothingIngestedError(EmptyCatalogError):
    """The database holds nothing to work on yet."""


class QueueNotStartedError(NothingIngestedError):
    """Nobody arrives as early as a scheduled day: the queue starts later."""


class UnknownItemError(RecsysError, KeyError):
    """An item id that the catalog does not hold."""

    __str__ = Exception.__str__


class UnknownUserError(RecsysError, KeyError):
    """A user id without any record."""

    __str__ = Exception.__str__


class IdempotencyKeyReusedError(RecsysError):
    """A client sent idempotency keys that it had used with other content."""

    def __init__(self, keys: Sequence[str]) -> None:
        shown = ", ".join(map(repr, keys[:5]))
        super().__init__(f"other content was sent with {shown} before; choose new idempotency keys")


class UnknownAlgorithmError(RecsysError, KeyError):
    """An algorithm that the model version does not hold.

    Parameters
    ----------
    algorithm
        What was asked for.
    available
        Those that can be asked for.
    """

    __str__ = Exception.__str__

    def __init__(self, algorithm: str, available: Sequence[str]) -> None:
        self.algorithm = algorithm
        self.available = list(available)
        super().__init__(f"this model version has no algorithm {algorithm!r}; choose among {', '.join(available)}")


class UnknownTitleError(RecsysError, LookupError):
    """A title that matches nothing well enough.

    Parameters
    ----------
    title
        What was asked for.
    suggestions
        The nearest titles, best first.
    """

    def __init__(self, title: str, suggestions: Sequence[str] = ()) -> None:
        self.title = title
        self.suggestions = list(suggestions)
        hint = f"; did you mean {', '.join(map(repr, self.suggestions[:3]))}?" if self.suggestions else ""
        super().__init__(f"no title matches {title!r}{hint}")


class SchemaMismatchError(RecsysError):
    """Features differ in name, order or type from what the ranker was trained on."""


class UnsupportedForestError(RecsysError):
    """A forest holds trees of a kind that only LightGBM itself can evaluate."""


class NotFittedError(RecsysError):
    """A model is used before it was fitted."""

    def __init__(self, model: object) -> None:
        super().__init__(f"{type(model).__name__} is not fitted; call `fit` or `load` first")


class ArtifactError(RecsysError):
    """A stored artefact is missing, truncated or altered."""


class OtherFormatError(ArtifactError):
    """A model version is whole, but in a format that this code does not read."""


class NoProductionModelError(RecsysError):
    """No model version carries the Production alias yet."""


class RegistryError(RecsysError):
    """MLflow refuses a request; the same request would be refused again."""


class UnknownVersionError(RegistryError):
    """A model version that the registry does not hold."""


class MissingProductionVersionError(RegistryError):
    """The version that the ledger has in Production was deleted from the registry."""


class ArrivalError(RecsysError):
    """A cohort cannot arrive: the day, its size or the users to draw from do not allow it."""


class EvaluationError(RecsysError):
    """There is no user to evaluate a model on, or no model to evaluate."""


class RetrainError(RecsysError):
    """A retraining step cannot go on."""


class ChangedInputsError(RetrainError):
    """Code or settings are others than those that the run was begun, or decided, with."""


class StaleChampionError(RetrainError):
    """The champion that a decision was made against is no longer in Production."""


class UnfinishedDayError(RetrainError):
    """Users may still be added to the day that should be frozen or measured."""


class ServiceUnavailableError(RecsysError):
    """A part that is needed (database, object store, registry) does not answer."""


class MachineError(ServiceUnavailableError):
    """A disk is full, memory is short, or a right is missing; the same may succeed later."""


def compute_exit_code(error: RecsysError) -> int:
    """Tell the exit code of a job: 1 for a failure, 99 where there is nothing to work on yet."""
    return EXIT_NOT_YET if isinstance(error, NothingIngestedError | NoProductionModelError) else 1
