"""Words that titles are made of: romanised, Japanese and English side by side; our own lists."""

import json
from importlib import resources
from typing import NamedTuple


class Word(NamedTuple):
    """One word in the three languages of a title."""

    romaji: str
    japanese: str
    english: str


_TEXTS = json.loads(resources.files(__package__).joinpath("vocabulary.json").read_text(encoding="utf-8"))

THEME_NOUNS: dict[str, tuple[Word, ...]] = {
    theme: tuple(Word(*word) for word in words) for theme, words in _TEXTS["themes"].items()
}
MOTIF_NOUNS: dict[str, tuple[Word, ...]] = {
    motif: tuple(Word(*word) for word in words) for motif, words in _TEXTS["motifs"].items()
}
ADJECTIVES: tuple[Word, ...] = tuple(Word(*word) for word in _TEXTS["adjectives"])
PLACES: tuple[Word, ...] = tuple(Word(*word) for word in _TEXTS["places"])
# Syllables of invented names, Latin and katakana.
SYLLABLES: tuple[tuple[str, str], ...] = tuple((latin, kana) for latin, kana in _TEXTS["syllables"])
