"""Versions as an attacker would leave them, and the fixtures of the service."""

from pathlib import Path

import pytest

from recsys.recommender.golden import write_golden_requests
from recsys.retrieval.spec import ModelInputs
from recsys.retrieval.standalone import fit_standalone, select_standalone
from tests.app.conftest import (  # noqa: F401 - fixtures of the service
    _patience,
    client,
    engine,
    model_folders,
    offline_settings,
    registry,
    source,
)
from tests.factories import tiny_recommender, tiny_world


@pytest.fixture(scope="session")
def full_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small version with models that answer alone, so that every kind of file is there but those of PyTorch."""
    from dataclasses import replace

    catalog, interactions = tiny_world()
    recommender = tiny_recommender(seed=1)
    vectors = recommender.retriever.items.text_vectors
    specs = select_standalone(["user-user", "hybrid", "content"])
    inputs = ModelInputs(text_vectors=lambda: vectors)
    models = fit_standalone(interactions.to_matrix(catalog), catalog, specs, inputs)
    full = replace(recommender, retriever=replace(recommender.retriever, standalone=models))
    folder = tmp_path_factory.mktemp("full-version")
    full.save(folder)
    write_golden_requests(full, folder)
    return folder
