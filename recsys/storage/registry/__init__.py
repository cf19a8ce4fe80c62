"""Runs, model versions and aliases in MLflow; the only package that imports it.

MLflow keeps names and numbers; the files go to S3 through our own `ArtifactStore`, into the places that MLflow gives
out, so that they carry a manifest, are checked by digest when they come back, and need only `mlflow-skinny`.
Everything is found by the key of the run first: a step that runs again finds what it made and makes nothing twice.
Which version is in Production is decided in `recsys.storage.promotion` and nowhere else.
"""

from recsys.storage.registry.connection import EXPERIMENT
from recsys.storage.registry.versions import (
    CHALLENGER,
    PREVIOUS,
    PRODUCTION,
    ModelVersion,
    Registry,
    compute_directory_digest,
)

__all__ = [
    "CHALLENGER",
    "EXPERIMENT",
    "PREVIOUS",
    "PRODUCTION",
    "ModelVersion",
    "Registry",
    "compute_directory_digest",
]
