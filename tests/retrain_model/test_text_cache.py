"""Text vectors are encoded once: not again, not after a crash, only where something changed or broke."""

import itertools
import logging
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from recsys.features.text_embeddings import DIMENSIONS
from recsys.storage.artifacts import ArtifactStore
from recsys.types import Floats
from retrain_model import text_cache
from retrain_model.text_cache import load_text_vectors

pytestmark = pytest.mark.local
TEXTS = ["Pirates.", "Robots fight.", "", "A school. A club.", "Robots fight."]
Encoded = list[list[str]]


def vector(text: str) -> Floats:
    """Something that depends on the text alone."""
    return np.random.default_rng(list(text.encode())).normal(size=DIMENSIONS).astype(np.float32)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Encoded:
    """The texts of every call of the encoder, which is replaced by something quick."""
    calls: Encoded = []

    def embed(texts: Sequence[str], _model: str, *, n_threads: int, on_progress: Callable[[int, int], None]) -> Floats:
        assert n_threads == 1
        calls.append(list(texts))
        on_progress(len(texts), len(texts))
        return np.stack([vector(text) for text in texts])

    monkeypatch.setattr(text_cache, "embed_texts", embed)
    return calls


def expected(texts: Sequence[str]) -> Floats:
    return np.stack([vector(text) if text else np.zeros(DIMENSIONS, dtype=np.float32) for text in texts])


def test_each_text_is_encoded_once_and_an_empty_one_never(store: ArtifactStore, encoded: Encoded) -> None:
    first = load_text_vectors(store, TEXTS, "model")
    np.testing.assert_array_equal(first, expected(TEXTS))
    assert sorted(encoded[0]) == ["A school. A club.", "Pirates.", "Robots fight."]
    np.testing.assert_array_equal(load_text_vectors(store, TEXTS, "model"), first)
    assert len(encoded) == 1


def test_a_changed_text_is_the_only_one_to_be_encoded(store: ArtifactStore, encoded: Encoded) -> None:
    load_text_vectors(store, TEXTS, "model")
    changed = ["Pirates again.", *TEXTS[1:]]
    np.testing.assert_array_equal(load_text_vectors(store, changed, "model"), expected(changed))
    assert encoded[1:] == [["Pirates again."]]


def test_another_model_shares_nothing(store: ArtifactStore, encoded: Encoded) -> None:
    load_text_vectors(store, TEXTS, "model")
    load_text_vectors(store, TEXTS, "other")
    assert [len(texts) for texts in encoded] == [3, 3]


@pytest.mark.parametrize("damage", ["altered", "truncated", "missing"])
def test_a_damaged_pack_is_encoded_again_with_a_warning(
    damage: str, store: ArtifactStore, encoded: Encoded, caplog: pytest.LogCaptureFixture
) -> None:
    load_text_vectors(store, TEXTS, "model")
    (key,) = [key for key in store.list_keys("embeddings/") if key.endswith("pack.npz")]
    content = store.read_bytes(key)
    if damage == "missing":
        store.delete_prefix(key)
    else:
        store.write_bytes(key, content[:-100] if damage == "truncated" else content[:-1] + b"x")
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(load_text_vectors(store, TEXTS, "model"), expected(TEXTS))
    assert "damaged and will be encoded again" in caplog.text
    assert [len(texts) for texts in encoded] == [3, 3]
    # The damage is repaired by that.
    caplog.clear()
    load_text_vectors(store, TEXTS, "model")
    assert caplog.text == ""
    assert len(encoded) == 2


def test_finished_packs_outlive_a_crash(
    store: ArtifactStore, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_cache, "PACK", 2)
    texts = [f"Story {number}." for number in range(7)]
    write = text_cache._write_pack
    written: list[object] = []

    def die(*arguments: object) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(text_cache, "_write_pack", die)
    with pytest.raises(KeyboardInterrupt):
        load_text_vectors(store, texts, "model")
    assert [len(part) for part in encoded] == [2, 2, 2]
    monkeypatch.setattr(text_cache, "_write_pack", write)
    np.testing.assert_array_equal(load_text_vectors(store, texts, "model"), expected(texts))
    assert [len(part) for part in encoded[3:]] == [2, 1]
    assert sorted(itertools.chain(*encoded[:2], *encoded[3:])) == texts


def test_progress_counts_texts_up_to_all_of_them(store: ArtifactStore, encoded: Encoded) -> None:
    load_text_vectors(store, TEXTS[:1], "model")
    heard: list[tuple[int, int]] = []
    load_text_vectors(store, TEXTS, "model", on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(len(TEXTS), len(TEXTS))]
