"""Recommendation itself: no Airflow, no HTTP, no environment variables.

data        interactions, catalog, preferences, splits, contracts, file layouts, sample world
features    the train/serve feature contract, text and LightFM embeddings, ranking features
retrieval   candidate generators
ranking     the two-headed LightGBM ranker
recommender retrieve, featurise, rank: the one deployable artefact
evaluation  evaluation sets, protocols, baselines, reports
gate        per-user metrics, intervals, guardrails and the promotion gate
storage     PostgreSQL, S3 and the MLflow registry: the only place that does I/O
"""

import os
from importlib.metadata import PackageNotFoundError, version

# Threads of OpenMP and OpenBLAS wait for each other in busy loops: beside another process, two of them take ten to
# hundred times as long as one. They are told to sleep, and work is divided by users and folds instead. Both libraries
# read this when they are loaded; whoever sets them otherwise is not overruled.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

try:
    __version__ = version("my-otaku-friend")
except PackageNotFoundError:  # imported from a source tree that was not installed
    __version__ = "0+unknown"
