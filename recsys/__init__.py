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

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("my-otaku-friend")
except PackageNotFoundError:  # imported from a source tree that was not installed
    __version__ = "0+unknown"
