"""Folders become worlds without any service, and every text is encoded once."""

from pathlib import Path

import numpy as np
import pytest

from otaku.evaluation import loading
from recsys.data.sample_world import write_sample_world
from recsys.types import Floats


def test_a_folder_becomes_a_world(tmp_path: Path) -> None:
    write_sample_world(tmp_path, n_users=40, n_items=60, n_ratings=900, seed=1)
    world = loading.read_folder(tmp_path)
    assert len(world.catalog) == 60
    assert 0 < len(world.interactions) <= 900
    assert not len(world.arrived)
    assert loading.read_folder(tmp_path).name == world.name
    path = tmp_path / "rating_complete.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert loading.read_folder(tmp_path).name != world.name


def test_texts_are_encoded_once_and_a_killed_run_loses_one_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []

    def embed(texts: list[str], model_name: str) -> Floats:
        if len(encoded) >= 4:
            raise KeyboardInterrupt
        encoded.extend(texts)
        return np.array([[len(text)] * 384 for text in texts], dtype=np.float32)

    monkeypatch.setattr(loading, "embed_texts", embed)
    monkeypatch.setattr(loading, "PACK", 2)
    texts = ["a", "bb", "", "ccc", "dddd", "eeeee", "a"]
    with pytest.raises(KeyboardInterrupt):
        loading.load_text_vectors(tmp_path, texts, "model")
    assert len(encoded) == 4
    (tmp_path / "left.partial").write_bytes(b"half a pack")
    known = encoded.copy()
    encoded.clear()
    steps: list[tuple[int, int]] = []
    vectors = loading.load_text_vectors(tmp_path, texts, "model", on_progress=lambda *step: steps.append(step))
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert len(encoded) == 1
    assert not set(encoded) & set(known)
    assert steps[-1] == (7, 7)
    encoded.clear()
    assert loading.load_text_vectors(tmp_path, texts, "model").tolist() == vectors.tolist()
    assert encoded == []
    # Another model gives other vectors.
    loading.load_text_vectors(tmp_path, texts[:2], "other")
    assert sorted(encoded) == ["a", "bb"]
