"""Parse a title into the name of its series, and the season, part, year and format that it states.

`Shingeki no Kyojin Season 3 Part 2`, `Mob Psycho 100 II`, `Fairy Tail (2014)` and `Naruto Movie 1: Dai Katsugeki` name
a series and say which of its works they are. What is parsed is what is written, in English, romanized Japanese and
Japanese; nothing is looked up.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from recsys.data.folding import fold_title, fold_width

Kind = Literal["tv", "movie", "ova", "ona", "special", "recap", "music"]

MAX_SEASON: Final = 20  # a larger number belongs to the name: `Area 88`, `Mob Psycho 100`

_WORDS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_CARDINALS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_ROMANS = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"]
_KANJI = ["一", "二", "三", "四", "五", "六", "七", "八", "九", "十"]
_KATAKANA = ["ファースト", "セカンド", "サード"]
_VALUES: Final = {
    word: value for words in (_WORDS, _CARDINALS, _ROMANS, _KANJI, _KATAKANA) for value, word in enumerate(words, 1)
}
_ROMAN = "viii|vii|vi|iv|v|iii|ii|ix|xii|xi"  # a single `i` or `x` is a letter more often than a number
_ORDINAL = r"\d{1,2}(?:st|nd|rd|th)|" + "|".join(_WORDS)
_NUMBER = rf"0?\d{{1,2}}|{_ROMAN}|i|x|{'|'.join(_CARDINALS)}"
_KANJI_NUMBER = rf"\d{{1,2}}|[{''.join(_KANJI)}]"

_YEAR = re.compile(r"\((?:(tv|movie|ova|ona|special|music)\s*)?((?:19|20)\d\d)(?:\s*(movie|tv|ova|ona))?\)")
_FORMAT = re.compile(r"\((tv|movie|ova|ona|special|music)\)")
_LAST_YEAR = re.compile(r"(?<=\w)[\s:,-]+((?:19|20)\d\d)$")
_LAST_TV = re.compile(r"(?<=\w)[\s:!?.-]+tv(?: series)?$")
_SEASON = re.compile(
    rf"(?<![\w'])(?:the )?({_ORDINAL})[ -](?:season|series)\b"
    rf"|(?<![\w'])(?:season|series|saison)[ :]*({_NUMBER})(?![\w.])"
    r"|(?<![\w'])s0?(\d{1,2})(?![\w.])"
    rf"|第?({_KANJI_NUMBER})(?:期|シーズン|シリーズ)"
    r"|(?:シーズン|シリーズ) ?(\d{1,2})(?!\d)"
    rf"|({'|'.join(_KATAKANA)})・?シーズン"
)
_FINAL = re.compile(r"(?<![\w'])(?:the )?final (?:season|series)\b|(?:ザ・?)?ファイナル(?:シーズン|シリーズ)")
_PART = re.compile(
    rf"(?<![\w'])(?:part|cour|pt\.?)[ -]?({_NUMBER})(?![\w.])"
    rf"|(?<![\w'])({_ORDINAL}) (?:part|cour)\b"
    rf"|第({_KANJI_NUMBER})(?:部|クール)"
)
_KINDS: Final[dict[str, Kind]] = {
    "movie": "movie", "film": "movie", "motion picture": "movie", "劇場版": "movie",
    "ova": "ova", "oad": "ova", "ona": "ona", "special": "special", "pilot": "special", "picture drama": "special",
    "omake": "special", "特別編": "special", "tv special": "special",
    "recap": "recap", "soushuuhen": "recap", "digest": "recap", "総集編": "recap", "ダイジェスト": "recap",
}  # fmt: skip
_KIND = re.compile(
    r"(?<=\w)[\s:!?.,☆★♪~(-]+(?:the )?(tv special|movie|film|motion picture|ova|oad|ona|special|pilot|picture drama"
    rf"|omake|recap|soushuuhen|digest)s?(?: ({_NUMBER})(?![\w.]))?(?!\w)"
    r"|(?<=.)(劇場版|総集編|特別編|ダイジェスト)"
)
_FIRST_MOVIE = re.compile(r"^(?:gekijouban|eiga)\s+|^(?:劇場版|映画)\s*")
# Numbers of these count something else than seasons.
_COUNTED = re.compile(
    r"(?:episode|ep|vol|volume|chapter|stage|act|no|number|round|mission|file|phase|day|version|v)\.? *$"
)
_LAST_NUMBER = re.compile(
    r"(?:(?<=[\w)'])[\s:!?.,☆★♪~/-]+|(?<=[^\W\da-z])|(?<=[a-z]{3})(?=\d))"
    rf"(?:(\d{{1,2}})(?:st|nd|rd|th)?|({_ROMAN}|{'|'.join(_WORDS[1:3])})|(?<=\s)r(\d)|(√a))"
    r"(?=$|\s*:|\s+[-–—~(])"
)
# Most titles hold none of these and need no parsing.
_HINT = re.compile(
    r"\d|season|series|part|cour|pt|[\s(](?:[ivx]+|second|third|tv)\b|√|(?<=[^\x00-\x7f])[ivx]+|[期部編版]|シ[ーリ]"
    r"|イジェ|movie|film|picture|o[vn]a|oad|special|pilot|omake|recap|soushuuhen|digest|gekijouban|eiga|映画"
)


@dataclass(frozen=True, slots=True)
class ParsedTitle:
    """What a title states.

    Parameters
    ----------
    base
        The name of the series, folded as by `recsys.data.folding.fold_title`: what stands before the first marker.
    subtitle
        What follows the marker, folded: `debriefing` of `Sword Art Online II: Debriefing`.
    season, part
        From 1 to 20; None where the title states none. `part` also numbers films, OVAs and specials.
    year
        As in `Fairy Tail (2014)`.
    kind
        The format, as in `Clannad Movie`.
    is_final
        Whether it is called the final season.
    is_bare
        Whether the season is a number alone, which may also count parts: `Overlord 2`.
    """

    base: str
    subtitle: str = ""
    season: int | None = None
    part: int | None = None
    year: int | None = None
    kind: Kind | None = None
    is_final: bool = False
    is_bare: bool = False

    @property
    def name(self) -> str:
        """The series with the subtitle, without the markers between them."""
        return f"{self.base} {self.subtitle}".rstrip()

    @property
    def states_work(self) -> bool:
        """Whether the title says which work of a series it is."""
        return self.is_final or any(value is not None for value in (self.season, self.part, self.year, self.kind))


def parse_title(title: str) -> ParsedTitle:
    """Parse a title; one without markers is all `base`.

    >>> parse_title("Shingeki no Kyojin Season 3 Part 2")
    ParsedTitle(base='shingeki no kyojin', subtitle='', season=3, part=2, year=None, kind=None, is_final=False, \
is_bare=False)
    >>> parse_title("Mob Psycho 100 II").season, parse_title("Fruits Basket 2019").year
    (2, 2019)
    """
    text = fold_width(title)
    if not _HINT.search(text):
        return ParsedTitle(fold_title(text))
    markers = _Markers(text)
    base = fold_title(markers.before)
    if not any(map(str.isalnum, base)):
        return ParsedTitle(fold_title(text))
    subtitle = fold_title(markers.after) if any(map(str.isalnum, markers.after)) else ""
    return ParsedTitle(
        base, subtitle, markers.season, markers.part, markers.year, markers.kind, markers.is_final, markers.is_bare
    )


def remove_decoration(title: str) -> str:
    """Remove year and format in parentheses, which tell namesakes apart and are no part of the name.

    >>> remove_decoration("Jujutsu Kaisen (TV)")
    'Jujutsu Kaisen'
    """
    if "(" not in title:
        return title
    bare = _DECORATION.sub("", title).strip()
    return bare or title


_DECORATION = re.compile(rf"\s*(?:{_YEAR.pattern}|{_FORMAT.pattern})", re.IGNORECASE)


class _Markers:
    """The markers of a text, taken out one after the other; `before` and `after` are what stands around them."""

    season: int | None = None
    part: int | None = None
    year: int | None = None
    kind: Kind | None = None
    is_final = False
    is_bare = False

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = len(text)  # where the first marker begins
        self._read_year()
        self._read_season()
        self._read_kind()
        self._read_last_number()

    @property
    def before(self) -> str:
        return self._text[: self._end]

    @property
    def after(self) -> str:
        return self._text[self._end :]

    def _take(self, pattern: re.Pattern[str], *, is_marker: bool = True) -> re.Match[str] | None:
        """Find a text behind the first character and cut it out; a marker ends the base."""
        found = pattern.search(self._text, 1)
        if found is None:
            return None
        self._text = self._text[: found.start()] + " " + self._text[found.end() :]
        self._end = min(self._end, found.start() if is_marker else len(self._text))
        return found

    def _read_year(self) -> None:
        if found := self._take(_YEAR, is_marker=False):
            kind = found[1] or found[3]
            self.year = int(found[2])
            self.kind = None if kind is None else _to_kind(kind)
        elif found := self._take(_FORMAT, is_marker=False):
            self.kind = _to_kind(found[1])
        if self.year is None and (found := _LAST_YEAR.search(self._text.rstrip())):
            self.year = int(found[1])
            self._cut(found.start())
        if found := _LAST_TV.search(self._text.rstrip()):
            self.kind = "tv"
            self._cut(found.start())

    def _cut(self, start: int) -> None:
        """Drop the end of the text."""
        self._text = self._text[:start]
        self._end = min(self._end, start)

    def _read_season(self) -> None:
        if found := self._take(_SEASON):
            self.season = _to_number(found)
        if self._take(_FINAL):
            self.is_final = True
        if found := self._take(_PART):
            self.part = _to_number(found)

    def _read_kind(self) -> None:
        if found := _FIRST_MOVIE.search(self._text):
            rest = self._text[found.end() :]
            if any(map(str.isalnum, rest)):
                self._text, self._end = rest, max(self._end - found.end(), 0)
                self.kind = "movie"
        if found := self._take(_KIND):
            self.kind = self.kind if self.kind not in (None, "tv") else _KINDS.get(found[1] or found[3], "recap")
            if found[2] and self.part is None:
                self.part = _to_value(found[2])

    def _read_last_number(self) -> None:
        """Read the number behind the name of the series: `Overlord II`, `Code Geass R2`, `Danganronpa 3: The End`."""
        if self.season is not None or self.is_final:
            return
        before = self.before.rstrip(" -:(~")
        found = None
        for found in _LAST_NUMBER.finditer(before, 1):  # noqa: B007 - the last one counts
            pass
        if found is None or _COUNTED.search(before[: found.start()]):
            return
        value = 2 if found[4] else _to_number(found)
        if value is None or not 1 <= value <= MAX_SEASON:
            return
        self._text = before[: found.start()] + " " + before[found.end() :] + " " + self.after
        self._end = found.start()
        if self.kind in (None, "tv"):
            self.season, self.is_bare = value, True
        else:
            self.part = value if self.part is None else self.part


def _to_kind(word: str) -> Kind:
    return "tv" if word == "tv" else "music" if word == "music" else _KINDS[word]


def _to_number(found: re.Match[str]) -> int | None:
    return next((_to_value(group) for group in found.groups() if group), None)


def _to_value(word: str) -> int | None:
    """Read a number, an ordinal or a word; None outside of 1 to 20."""
    digits = re.match(r"\d+", word)
    value = int(digits[0]) if digits else _VALUES[word]
    return value if 1 <= value <= MAX_SEASON else None
