"""Fold what is written in different ways into one spelling, and compute how similar two spellings are."""

import html
import re
import unicodedata
from functools import lru_cache
from typing import Final

import jellyfish

MAX_QUERY_LENGTH: Final = 200  # characters; what stands behind them is ignored, in queries and titles alike

_APOSTROPHES = "'’‘`´ʼ"
_KANA_VOICE_MARKS = "\u3099\u309a"
_JOINING = re.compile("CHOSEONG|JUNGSEONG|JONGSEONG|CLUSTER-INITIAL|JIHVAMULIYA|UPADHMANIYA|REPHA?$|^DIVES AKURU")
_ENTITY = re.compile(r"&#?\w+;")
# Katakana stand 0x60 above the hiragana of the same sound, the iteration marks included.
_KATAKANA = {code: code - 0x60 for code in (*range(0x30A1, 0x30F7), 0x30FD, 0x30FE)}
_SIGNS = str.maketrans({"×": "x", "✕": "x", "✖": "x", "⨯": "x", "√": " root "})
_ASCII_SIGNS = {code: None if chr(code) in _APOSTROPHES else " " for code in range(128) if not chr(code).isalnum()}
_LONG_VOWELS = re.compile(r"o[ou]+|u{2,}|a{2,}|e{2,}")
_LONG_MARK = "ー"


def fold_width(text: str) -> str:
    """Fold HTML entities, case, width and white space, and keep punctuation.

    Punctuation alone separates `Gintama'` from `Gintama`.
    """
    clean = text[:MAX_QUERY_LENGTH]
    for _ in range(2):  # files of crawled titles hold entities that were escaped twice
        if _ENTITY.search(clean):
            clean = html.unescape(clean)
    if clean.isascii():
        return " ".join(clean.lower().split())
    clean = clean.encode("utf-8", "replace").decode("utf-8")  # without lone surrogates
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean).casefold())
    return " ".join(folded.split())[:MAX_QUERY_LENGTH]


def fold_title(text: str) -> str:
    """Fold case, width, accents, kana and punctuation; letters and digits of any script remain, words one space apart.

    Katakana become hiragana and a multiplication sign an `x`. Combining marks are dropped (except the voice marks of
    kana), and so is what joins its neighbour into one grapheme: the bound in `recsys.data.spelling` relies on
    characters. A text without letters and digits keeps its signs.

    >>> fold_title("Hunter×Hunter")
    'hunterxhunter'
    >>> fold_title("Ōkami to Kōshinryō")
    'okami to koshinryo'
    """
    text = with_signs = fold_width(text)
    if text.isascii():
        return " ".join(text.translate(_ASCII_SIGNS).split()) or with_signs
    split = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    text = "".join(sign for sign in split if sign in _KANA_VOICE_MARKS or unicodedata.category(sign)[0] != "M")
    text = unicodedata.normalize("NFKC", text).translate(_KATAKANA)
    kept = (sign if _is_standalone(sign) else " " for sign in text if sign not in _APOSTROPHES)
    return " ".join("".join(kept).split())[:MAX_QUERY_LENGTH] or with_signs


def join_words(folded: str) -> str:
    """Join the words of a folded title and shorten its long vowels: equal for spellings that sound the same.

    `fairy tail` and `fairytail` become equal, and so do `hourou`, `hōrō` and `horo`. Double `i` stays, since it is a
    Roman number as well.

    >>> join_words("ookami to koushinryou")
    'okamitokoshinryo'
    """
    joined = folded.replace(" ", "").replace(_LONG_MARK, "")
    return _LONG_VOWELS.sub(lambda vowels: vowels[0][0], joined) or folded


def compute_similarity(one: str, other: str) -> float:
    """Return the Jaro-Winkler similarity of two folded titles, or the share of equal characters if that is higher.

    Jaro-Winkler pairs letters greedily, and where a title repeats the letter that was mistyped the pairs shift:
    `cowqoy bebop` is only 0.90 of `cowboy bebop`. The share (one minus the edits per character) forgives one slip in
    ten characters wherever it happens.
    """
    edits = jellyfish.damerau_levenshtein_distance(one, other)
    share = 1.0 - edits / max(len(one), len(other), 1)
    return max(float(jellyfish.jaro_winkler_similarity(one, other)), share)


@lru_cache(maxsize=65_536)
def _is_standalone(sign: str) -> bool:
    if not sign.isalnum():
        return False
    return sign.isascii() or _JOINING.search(unicodedata.name(sign, "")) is None
