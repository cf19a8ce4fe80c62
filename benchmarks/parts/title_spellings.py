"""Titles of a catalog in other spellings, each with the items that it may stand for.

Written without the code that is measured: the rules of this file read names as a user would.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recsys.columns import Columns, ItemColumns

WESTERN_TITLES = Path(__file__).with_name("western_titles.txt")

_ORDINALS = ["", "1st", "2nd", "3rd", *(f"{number}th" for number in range(4, 13))]
_WORDS = ["", "First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth"]
_ROMANS = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"]
_NUMBERED = re.compile(
    r"^(?P<base>.*\w.*?)[\s:]+(?:(?P<ordinal>\d{1,2})(?:st|nd|rd|th) Season|Season (?P<season>\d{1,2})|S(?P<s>\d{1,2})"
    r"|(?P<roman>II|III|IV|V|VI)|(?P<number>[2-9]))$"
)
_COUNTED = re.compile(
    r"(?:part|movie|ova|special|specials|episode|no|vol|volume|stage|chapter|act|film|oav)\.?$", re.IGNORECASE
)
_MACRONS = [("ou", "ō"), ("oo", "ō"), ("uu", "ū"), ("Ou", "Ō"), ("Oo", "Ō"), ("Uu", "Ū")]
_SOUNDS = [("c", "k"), ("k", "c"), ("ph", "f"), ("f", "ph"), ("l", "r"), ("r", "l"), ("s", "z"), ("z", "s"),
           ("v", "b"), ("shi", "si"), ("tsu", "tu"), ("chi", "ti"), ("ee", "i"), ("y", "i"), ("ou", "o"), ("ck", "k"),
           ("x", "ks")]  # fmt: skip


class Spelling(NamedTuple):
    """A typed text and the ids of the items of which any is right."""

    text: str
    right: frozenset[int]


def generate_seasons(items: pd.DataFrame) -> list[Spelling]:
    """Spell the names that end in the number of a season in the other usual ways.

    Right are all items that carry a name of this base and number in any of these ways, whatever their format.
    """
    owners: dict[tuple[str, int], set[int]] = defaultdict(set)
    numbered: dict[tuple[str, int], str] = {}
    for item_id, name in _iterate_names(items, [ItemColumns.Title, ItemColumns.TitleEnglish]):
        found = _NUMBERED.match(name)
        if found is None or _COUNTED.search(found["base"]):
            continue
        texts = [found["ordinal"], found["season"], found["s"], found["number"]]
        number = next((int(text) for text in texts if text), None) or _ROMANS.index(found["roman"])
        if 2 <= number <= 10:
            key = (_fold(found["base"]), number)
            owners[key].add(item_id)
            numbered.setdefault(key, found["base"])
    return [
        Spelling(text, frozenset(owners[key]))
        for key, base in numbered.items()
        for text in _spell_season(base.rstrip(" :"), key[1])
    ]


def _spell_season(base: str, number: int) -> list[str]:
    return [
        f"{base} {number}", f"{base} {_ROMANS[number]}", f"{base} S{number}", f"{base} Season {number}",
        f"{base} {_ORDINALS[number]} Season", f"{base} {_WORDS[number]} Season",
    ]  # fmt: skip


def generate_hiragana(items: pd.DataFrame) -> list[Spelling]:
    """Type the Japanese titles of kana in hiragana."""
    names = _collect_owners(items, [ItemColumns.TitleJapanese])
    found = []
    for name, owners in names.items():
        typed = "".join(chr(ord(sign) - 0x60) if "ァ" <= sign <= "ヶ" else sign for sign in name)
        if typed != name:
            found.append(Spelling(typed, owners))
    return found


def generate_macrons(items: pd.DataFrame, n_titles: int) -> list[Spelling]:
    """Write the long vowels of the most popular romanized titles with macrons."""
    found = []
    for name, owners in _collect_owners(_select_popular(items, n_titles), [ItemColumns.Title], items).items():
        typed = name
        for letters, macron in _MACRONS:
            typed = typed.replace(letters, macron)
        if typed != name:
            found.append(Spelling(typed, owners))
    return found


def generate_joined(items: pd.DataFrame, n_titles: int) -> list[Spelling]:
    """Write the most popular titles without spaces."""
    names = _collect_owners(_select_popular(items, n_titles), [ItemColumns.Title], items)
    return [Spelling(name.replace(" ", ""), owners) for name, owners in names.items() if " " in name]


def generate_misspellings(items: pd.DataFrame, n_titles: int, rng: np.random.Generator) -> dict[str, list[Spelling]]:
    """Misspell the most popular titles once each by every kind of slip; titles of four letters and more."""
    names = _collect_owners(_select_popular(items, n_titles), [ItemColumns.Title], items)
    slips: dict[str, Callable[[str, np.random.Generator], str]] = {
        "insert": _insert, "drop": _drop, "swap": _swap, "phonetic": _respell,
    }  # fmt: skip
    found: dict[str, list[Spelling]] = {slip: [] for slip in slips}
    for name, owners in names.items():
        for slip, change in slips.items():
            typed = change(name, rng) if sum(map(str.isalpha, name)) >= 4 else name
            if _fold(typed) != _fold(name):
                found[slip].append(Spelling(typed, owners))
    return found


def read_western_titles() -> list[str]:
    """Read titles of films and series that no anime catalog lists."""
    return WESTERN_TITLES.read_text(encoding="utf-8").splitlines()


def _insert(name: str, rng: np.random.Generator) -> str:
    place = _choose_letter(name, rng)
    return name[:place] + chr(int(rng.integers(ord("a"), ord("z") + 1))) + name[place:]


def _drop(name: str, rng: np.random.Generator) -> str:
    place = _choose_letter(name, rng)
    return name[:place] + name[place + 1 :]


def _swap(name: str, rng: np.random.Generator) -> str:
    places = [at for at in range(len(name) - 1) if name[at].isalpha() and name[at + 1].isalpha()]
    place = int(rng.choice(places)) if places else 0
    return name[:place] + name[place + 1 : place + 2] + name[place] + name[place + 2 :]


def _respell(name: str, rng: np.random.Generator) -> str:
    lower = name.casefold()
    known = [(sound, other, at.start()) for sound, other in _SOUNDS for at in re.finditer(sound, lower)]
    if not known:
        return name
    sound, other, place = known[int(rng.integers(len(known)))]
    return name[:place] + other + name[place + len(sound) :]


def _choose_letter(name: str, rng: np.random.Generator) -> int:
    return int(rng.choice([at for at, sign in enumerate(name) if sign.isalpha()]))


def _select_popular(items: pd.DataFrame, n_titles: int) -> pd.DataFrame:
    """Select the items with the most members among those for all ages."""
    adult = [any(str(genre).casefold() == "hentai" for genre in genres) for genres in items[ItemColumns.Genres]]
    rated = items[ItemColumns.AgeRating].fillna("").str.startswith("Rx")
    return items[~np.array(adult) & ~rated].nlargest(n_titles, ItemColumns.Members)


def _collect_owners(
    chosen: pd.DataFrame, columns: list[str], items: pd.DataFrame | None = None
) -> dict[str, frozenset[int]]:
    """Map names to all items that carry them, as default title or alias, up to case, accents and punctuation."""
    owners: dict[str, set[int]] = defaultdict(set)
    names = [ItemColumns.Title, ItemColumns.TitleEnglish, ItemColumns.TitleJapanese]
    for item_id, name in _iterate_names(chosen if items is None else items, names):
        owners[_fold(re.sub(r"\s*\((?:TV|\d{4}|TV \d{4})\)", "", name))].add(item_id)
    return {name: frozenset({item_id} | owners[_fold(name)]) for item_id, name in _iterate_names(chosen, columns)}


def _iterate_names(items: pd.DataFrame, columns: list[str]) -> Iterator[tuple[int, str]]:
    for column in columns:
        rows: Any = zip(items[Columns.Item], items[column], strict=True)
        yield from ((int(item_id), name) for item_id, name in rows if isinstance(name, str))


def _fold(name: str) -> str:
    """Fold case, accents and punctuation in the plainest way."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(sign if sign.isalnum() else " " for sign in plain).split())
