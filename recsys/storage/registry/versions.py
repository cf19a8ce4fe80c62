"""Versions of the registered model and the aliases that point at them."""

import hashlib
import math
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from recsys.exceptions import ArtifactError, RetrainError, UnknownVersionError
from recsys.storage.artifacts import MANIFEST
from recsys.storage.registry.connection import DATA, DIGEST_TAG, MODEL_TAG, RUN_KEY_TAG
from recsys.storage.registry.runs import DIGEST_LENGTH, RunTracking

PRODUCTION = "production"
PREVIOUS = "previous"
# Set by an operator, for canary and shadow traffic.
CHALLENGER = "challenger"

_MODEL_TAGS = {"task": "recommendation", "domain": "anime", "formats": "parquet, npz, json, lightgbm text, onnx"}
_MODEL_DESCRIPTION = (
    "Recommends anime: candidate generators, then a ranker of LightGBM that orders lists and predicts ratings. "
    f"The alias `{PRODUCTION}` names the version that serves, `{PREVIOUS}` the one before it; a gate moves them and a "
    "ledger keeps every decision. Input: `item_ids` and `ratings`, two lists of equal length per user."
)
# What a version shows as tags, in lists of versions; all numbers are at the model and at its run.
_HEADLINE = frozenset({"ndcg_at_10", "mae"})
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
# The server numbers versions optimistically and gives up after three conflicts.
_ATTEMPTS = 8


@dataclass(frozen=True)
class ModelVersion:
    """A version as the registry knows it; `created_ms` is milliseconds since 1970, UTC."""

    version: int
    run_id: str
    run_key: str
    digest: str
    source: str
    description: str
    created_ms: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def compute_directory_digest(directory: Path) -> str:
    """Compute one SHA-256 over the names and contents of all files below a directory, manifests left out."""
    lines = []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as handle:
                digest = hashlib.file_digest(handle, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(directory).as_posix()}\n")
    if not lines:
        raise ArtifactError(f"{directory} holds no file; save the model there first")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _is_number_conflict(error: BaseException) -> bool:
    return isinstance(error, MlflowException) and "Giving up" in str(error)


class Registry(RunTracking):
    """The runs, versions and aliases of one registered model; thread-safe."""

    def register_model(
        self,
        run_id: str,
        directory: Path,
        run_key: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        dataset: tuple[str, str] | None = None,
        description: str = "",
    ) -> int:
        """Store a saved recommender as a version with signature and input example, and return its number.

        A version of the same run key and the same bytes is found again rather than made twice.

        Parameters
        ----------
        directory
            What `Recommender.save` wrote: open formats, no pickle.
        params, metrics
            What MLflow shows of the model where models are compared.
        dataset
            Name and digest of what it was evaluated on.
        """
        # Describing a model needs the whole of MLflow; a service that only loads versions has `mlflow-skinny`.
        from recsys.storage.registry.packaging import write_package

        digest = compute_directory_digest(directory)
        tags = {RUN_KEY_TAG: run_key, DIGEST_TAG: digest, MODEL_TAG: self.model_name}
        with self._translate_errors():
            standing = [found.version for found in self.list_versions(run_key) if found.digest == digest]
            if standing:
                return min(standing)
            model = self._find_or_create_model(run_id, tags, params or {})
            store, prefix = self._place(model.artifact_location)
            with tempfile.TemporaryDirectory(prefix="otaku-model-") as folder:
                package = Path(folder) / "model"
                write_package(package, directory, model.model_id, run_id)
                store.write_directory(prefix, package)
            self._log_to_model(run_id, model.model_id, metrics or {}, dataset)
            self._client.finalize_logged_model(model.model_id, "READY")
            headline = {name: value for name, value in (metrics or {}).items() if name in _HEADLINE}
            numbers = {f"metric.{name}": f"{value:.6g}" for name, value in headline.items()}
            return self._create_version(
                model.artifact_location, model.model_id, run_id, {**tags, **numbers}, description
            )

    def list_versions(self, run_key: str | None = None) -> list[ModelVersion]:
        """List versions, newest first, all or those of a run key."""
        query = f"name = '{self.model_name}'"
        if run_key is not None:
            query += f" AND tags.`{RUN_KEY_TAG}` = '{run_key}'"
        with self._translate_errors():
            found = [_read_version(entry) for entry in self._client.search_model_versions(query)]
            # A search leaves the aliases out.
            pointers = self._client.get_registered_model(self.model_name).aliases if found else {}
        carried: defaultdict[int, list[str]] = defaultdict(list)
        for alias, version in sorted(pointers.items()):
            carried[int(version)].append(alias)
        named = (replace(entry, aliases=tuple(carried[entry.version])) for entry in found)
        return sorted(named, key=lambda entry: -entry.version)

    def read_version(self, version: int) -> ModelVersion:
        """Look one version up.

        Raises
        ------
        UnknownVersionError
            If there is no such version.
        """
        with self._translate_errors():
            try:
                return _read_version(self._client.get_model_version(self.model_name, str(version)))
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    remedy = "`otaku models list` shows those it has"
                    raise UnknownVersionError(f"{self.model_name} has no version {version}; {remedy}") from None
                raise

    def version_url(self, version: int) -> str:
        """Return the address of a version in MLflow's interface."""
        return f"{self.tracking_uri}/#/models/{self.model_name}/versions/{version}"

    def has_version(self, version: int) -> bool:
        """Whether the registry holds a version."""
        try:
            self.read_version(version)
        except UnknownVersionError:
            return False
        return True

    def download(self, version: int, directory: Path) -> Path:
        """Fetch the recommender of a version, checked by its digest, and return the folder to load it from.

        What already lies under `directory` with the right digest is used again; anything else is replaced.

        Raises
        ------
        ArtifactError
            If a file is missing, truncated or altered, or the whole is not what was registered.
        """
        found = self.read_version(version)
        target = directory / f"version-{version}"
        if target.is_dir() and compute_directory_digest(target) == found.digest:
            return target
        store, prefix = self._place(found.source)
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as folder:
            store.read_directory(prefix, Path(folder), below=DATA)
            data = Path(folder) / DATA
            digest = compute_directory_digest(data)
            if digest != found.digest:
                raise ArtifactError(
                    f"version {version} has digest {digest[:12]} instead of {found.digest[:12]}; "
                    "it was altered in storage: roll back to another version and register this one again"
                )
            # Another process may have fetched the same bytes meanwhile, and be reading them: they stay.
            if not (target.is_dir() and compute_directory_digest(target) == found.digest):
                shutil.rmtree(target, ignore_errors=True)
                data.replace(target)
        return target

    def annotate(self, version: int, tags: Mapping[str, str], description: str | None = None) -> None:
        """Write tags and, if given, the description of a version."""
        with self._translate_errors():
            for name, value in tags.items():
                self._client.set_model_version_tag(self.model_name, str(version), name, value)
            if description is not None:
                self._client.update_model_version(self.model_name, str(version), description)

    def delete_version(self, version: int) -> None:
        """Delete a version and its files for good; its run stays. For `recsys.storage.retention` alone.

        The files go first, and the manifest first of them: killed in between, the version is still listed, cannot be
        loaded and is deleted by the next call.

        Raises
        ------
        RetrainError
            If an alias points at the version; MLflow itself would drop the alias without a word.
        """
        with self._translate_errors():
            pointers = self._client.get_registered_model(self.model_name).aliases
            if version in map(int, pointers.values()):
                raise RetrainError(f"version {version} carries an alias; promote another version first")
            found = self.read_version(version)
            store, prefix = self._place(found.source)
            store.delete_prefix(f"{prefix}/")
            self._client.delete_model_version(self.model_name, str(version))

    def alias_version(self, alias: str) -> int | None:
        """Return the version that carries an alias, or None."""
        with self._translate_errors():
            try:
                return int(self._client.get_model_version_by_alias(self.model_name, alias).version)
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise

    def production_version(self) -> int | None:
        """Return the version in Production, or None while nothing was promoted."""
        return self.alias_version(PRODUCTION)

    def point_alias(self, alias: str, version: int | None) -> None:
        """Move or remove an alias; for `recsys.storage.promotion` alone, which holds the lock and the ledger."""
        with self._translate_errors():
            if version is None:
                self._client.delete_registered_model_alias(self.model_name, alias)
            else:
                self._client.set_registered_model_alias(self.model_name, alias, str(version))

    def _log_to_model(
        self, run_id: str, model_id: str, metrics: Mapping[str, float], dataset: tuple[str, str] | None
    ) -> None:
        """Show metrics at the model, and the model as the output of its run; the same again changes nothing."""
        known = {metric.key for metric in self._client.get_logged_model(model_id).metrics or ()}
        name, digest = (dataset[0], dataset[1][:DIGEST_LENGTH]) if dataset else (None, None)
        moment = int(time.time() * 1000)
        numbers = [
            Metric(key, float(value), moment, 0, model_id, name, digest, run_id)
            for key, value in metrics.items()
            if math.isfinite(value) and key not in known
        ]
        self._client.log_batch(run_id, metrics=numbers)
        outputs = self._client.get_run(run_id).outputs
        # MLflow refuses what it has instead of leaving it alone.
        if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])

    def _find_or_create_model(self, run_id: str, tags: Mapping[str, str], params: Mapping[str, object]) -> Any:
        """Return the place for a model's files, that of an earlier attempt if there was one."""
        experiment = self._experiment_id()
        query = " AND ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        standing = self._client.search_logged_models([experiment], query, max_results=1)
        if standing:
            return standing[0]
        shown = {name: str(value) for name, value in params.items()}
        return self._client.create_logged_model(
            experiment, "model", run_id, dict(tags), shown, model_type="recommender"
        )

    def _create_version(
        self, source: str, model_id: str, run_id: str, tags: Mapping[str, str], description: str
    ) -> int:
        try:
            self._client.create_registered_model(self.model_name, _MODEL_TAGS, _MODEL_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        created = self._request_version(source, run_id, dict(tags), description, model_id)
        return int(created.version)

    @retry(
        retry=retry_if_exception(_is_number_conflict),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.1),
        reraise=True,
    )
    def _request_version(self, source: str, run_id: str, tags: dict[str, Any], description: str, model_id: str) -> Any:
        return self._client.create_model_version(
            self.model_name, source, run_id, tags, description=description, await_creation_for=0, model_id=model_id
        )


def _read_version(entry: Any) -> ModelVersion:
    return ModelVersion(
        version=int(entry.version),
        run_id=entry.run_id or "",
        run_key=entry.tags.get(RUN_KEY_TAG, ""),
        digest=entry.tags.get(DIGEST_TAG, ""),
        source=entry.source,
        description=entry.description or "",
        created_ms=int(entry.creation_timestamp),
        aliases=tuple(sorted(entry.aliases)),
        tags=dict(entry.tags),
    )
