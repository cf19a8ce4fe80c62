"""Invented titles: a stem per franchise and one name per title in romanised Japanese, Japanese and English."""

from collections.abc import Callable

import numpy as np

from recsys.data.sample_world.stories import Stories
from recsys.data.sample_world.themes import MOTIFS, THEMES
from recsys.data.sample_world.vocabulary import ADJECTIVES, MOTIF_NOUNS, PLACES, SYLLABLES, THEME_NOUNS, Word
from recsys.data.sample_world.works import KINDS, Works


def draw_name(rng: np.random.Generator) -> Word:
    """Invent a given name of two or three syllables."""
    parts = [SYLLABLES[position] for position in rng.integers(0, len(SYLLABLES), int(rng.integers(2, 4)))]
    romaji = "".join(part[0] for part in parts).capitalize()
    return Word(romaji, "".join(part[1] for part in parts), romaji)


def _noun_of_noun(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del name, adjective, place
    return Word(
        f"{first.romaji} to {second.romaji} no Monogatari",
        f"{first.japanese}と{second.japanese}の物語",
        f"Tale of {first.english} and {second.english}",
    )


def _adjective_noun(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del name, second
    return Word(
        f"{adjective.romaji} {first.romaji} no {place.romaji}",
        f"{adjective.japanese}{first.japanese}の{place.japanese}",
        f"{place.english} of the {adjective.english} {first.english}",
    )


def _name_and_noun(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del adjective, second
    return Word(
        f"{name.romaji} to {first.romaji} no {place.romaji}",
        f"{name.japanese}と{first.japanese}の{place.japanese}",
        f"{name.english} and the {place.english} of {first.english}",
    )


def _hero(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del adjective, second, place
    return Word(
        f"{first.romaji} {name.romaji}", f"{first.japanese}{name.japanese}", f"{name.english} the {first.english}"
    )


def _long_sentence(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del name, adjective
    return Word(
        f"{place.romaji} de Hirotta {first.romaji} ga {second.romaji} ni Natta Hi",
        f"{place.japanese}で拾った{first.japanese}が{second.japanese}になった日",
        f"The Day the {first.english} I Found in the {place.english} Became a {second.english}",
    )


def _name_place(name: Word, adjective: Word, first: Word, second: Word, place: Word) -> Word:
    del adjective, second
    return Word(
        f"{name.romaji}: {first.romaji} {place.romaji}",
        f"{name.japanese} {first.japanese}{place.japanese}",
        f"{name.english}:{first.english} {place.english}",
    )


PATTERNS: tuple[Callable[[Word, Word, Word, Word, Word], Word], ...] = (
    _noun_of_noun,
    _adjective_noun,
    _name_and_noun,
    _hero,
    _long_sentence,
    _name_place,
)
PATTERN_SHARES = (0.15, 0.25, 0.2, 0.2, 0.08, 0.12)


def build_stems(rng: np.random.Generator, stories: Stories) -> list[Word]:
    """Invent one title per franchise, all different, with words of its theme and motif."""
    stems: list[Word] = []
    taken: set[str] = set()
    for theme, motif in zip(stories.main_theme, stories.main_motif, strict=True):
        nouns = (THEME_NOUNS[THEMES[theme].name], MOTIF_NOUNS[MOTIFS[motif]])
        stem = _draw_stem(rng, nouns)
        while stem.romaji.lower() in taken:
            # Every second title carries an invented name, so a free one is near.
            stem = _draw_stem(rng, nouns)
        taken.add(stem.romaji.lower())
        stems.append(stem)
    return stems


def _draw_stem(rng: np.random.Generator, nouns: tuple[tuple[Word, ...], tuple[Word, ...]]) -> Word:
    pattern = PATTERNS[int(rng.choice(len(PATTERNS), p=PATTERN_SHARES))]
    pair = [group[int(rng.integers(len(group)))] for group in nouns]
    if rng.random() < 0.5:
        pair.reverse()
    adjective, place = ADJECTIVES[int(rng.integers(len(ADJECTIVES)))], PLACES[int(rng.integers(len(PLACES)))]
    return pattern(draw_name(rng), adjective, pair[0], pair[1], place)


def build_titles(rng: np.random.Generator, stories: Stories, works: Works, stems: list[Word]) -> list[Word]:
    """Name every title, `len(works)` names, all different: the first of a franchise carries the bare stem."""
    names: list[Word | None] = [None] * len(works)
    seen: dict[tuple[int, int], int] = {}
    for row in np.lexsort((works.installment, works.story)):
        story, kind = int(works.story[row]), int(works.kind[row])
        if works.installment[row] == 0:
            # Whatever the first title is, a series after it is its second season.
            seen[story, KINDS.index("TV")] = seen[story, kind] = 1
            names[row] = stems[story]
            continue
        count = seen[story, kind] = seen.get((story, kind), 0) + 1
        nouns = MOTIF_NOUNS[MOTIFS[int(stories.main_motif[story])]] + PLACES
        names[row] = _name_later(stems[story], KINDS[kind], count, nouns[int(rng.integers(len(nouns)))])
    return [name for name in names if name is not None]


def _name_later(stem: Word, kind: str, count: int, detail: Word) -> Word:
    """Name a later title; `count` tells how many of this kind the franchise has, this one included."""
    number = "" if count == 1 else f" {count}"
    if kind == "TV":
        ordinal = {2: "2nd", 3: "3rd"}.get(count, f"{count}th")
        return Word(f"{stem.romaji} {ordinal} Season", f"{stem.japanese} 第{count}期", f"{stem.english} Season {count}")
    if kind == "Movie":
        return Word(
            f"{stem.romaji} Movie{number}: {detail.romaji} no Maki",
            f"劇場版 {stem.japanese}{number} {detail.japanese}の巻",
            f"{stem.english} The Movie{number}:{detail.english}",
        )
    if kind == "Special":
        return Word(
            f"{stem.romaji} Specials{number}", f"{stem.japanese} 特別編{number}", f"{stem.english} Specials{number}"
        )
    if kind == "Music":
        return Word(
            f"{stem.romaji} Music Clip{number}", f"{stem.japanese} 音楽{number}", f"{stem.english} Music Clip{number}"
        )
    label = kind if kind == "OVA" else "Mini"
    return Word(f"{stem.romaji} {label}{number}", f"{stem.japanese} {label}{number}", f"{stem.english} {label}{number}")
