"""One spelling for the labels that sources write in different cases: genres, types and source materials."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

# Genres, themes and demographics of MyAnimeList, those it has given up included.
_GENRES = """
Action; Adult Cast; Adventure; Anthropomorphic; Avant Garde; Award Winning; Boys Love; CGDCT; Cars; Childcare;
Combat Sports; Comedy; Crossdressing; Delinquents; Dementia; Demons; Detective; Drama; Ecchi; Educational; Erotica;
Fantasy; Gag Humor; Game; Girls Love; Gore; Gourmet; Harem; Hentai; High Stakes Game; Historical; Horror;
Idols (Female); Idols (Male); Isekai; Iyashikei; Josei; Kids; Love Polygon; Love Status Quo; Magic;
Magical Sex Shift; Mahou Shoujo;
Martial Arts; Mecha; Medical; Military; Music; Mystery; Mythology; Organized Crime; Otaku Culture; Parody;
Performing Arts; Pets; Police; Psychological; Racing; Reincarnation; Reverse Harem; Romance; Samurai; School; Sci-Fi;
Seinen; Shoujo; Shoujo Ai; Shounen; Shounen Ai; Showbiz; Slice of Life; Space; Sports; Strategy Game; Super Power;
Supernatural; Survival; Suspense; Team Sports; Thriller; Time Travel; Urban Fantasy; Vampire; Video Game; Villainess;
Visual Arts; Workplace; Yaoi; Yuri
"""
_TYPES = "TV; Movie; OVA; ONA; Special; Music; TV Special; CM; PV"
_SOURCES = """
Original; Manga; Visual novel; Game; Light novel; Other; Novel; Music; 4-koma manga; Web manga; Picture book; Book;
Card game; Digital manga; Radio; Web novel; Mixed media
"""


def _index(labels: str) -> Mapping[str, str]:
    return {label.casefold(): label for label in (part.strip() for part in labels.split(";"))}


GENRES: Final = _index(_GENRES)
TYPES: Final = _index(_TYPES)
SOURCES: Final = _index(_SOURCES)

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def fold_genres(genres: Iterable[str]) -> list[str]:
    """Give every genre one spelling, whatever its case, and leave repetitions out.

    Genres that MyAnimeList does not know are capitalised word by word, so that the spelling depends on the word alone
    and not on the other rows.

    Examples
    --------
    >>> fold_genres(["hentai", "SCI-FI", "Sci-Fi", "slice of life", "space western"])
    ['Hentai', 'Sci-Fi', 'Slice of Life', 'Space Western']
    """
    return list(dict.fromkeys(GENRES.get(genre.casefold()) or _capitalise(genre) for genre in genres))


def fold_label(label: str | None, known: Mapping[str, str]) -> str | None:
    """Give a known label its usual spelling; others stay as they are.

    Examples
    --------
    >>> fold_label("tv", TYPES), fold_label("Light Novel", SOURCES), fold_label("Hologram", TYPES)
    ('TV', 'Light novel', 'Hologram')
    """
    return None if label is None else known.get(label.casefold(), label)


def _capitalise(text: str) -> str:
    return _WORD.sub(lambda word: word[0][:1].upper() + word[0][1:].lower(), text)
