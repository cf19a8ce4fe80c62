"""Fold what is written in different ways into one spelling, and tell how alike two spellings are."""

import re
import unicodedata

import jellyfish

MAX_QUERY_LENGTH = 200  # characters; what stands behind them is ignored, in queries and titles alike
_APOSTROPHES = "'’‘`´ʼ"
_KANA_VOICE_MARKS = "\u3099\u309a"
_JOINING = re.compile("CHOSEONG|JUNGSEONG|JONGSEONG|CLUSTER-INITIAL|JIHVAMULIYA|UPADHMANIYA|REPHA?$|^DIVES AKURU")


def fold_width(text: str) -> str:
    """Fold case, width and white space, and keep punctuation: it alone tells `Gintama'` from `Gintama`."""
    clean = text[:MAX_QUERY_LENGTH].encode("utf-8", "replace").decode("utf-8")  # without lone surrogates
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean).casefold())
    return " ".join(folded.split())[:MAX_QUERY_LENGTH]


def fold_title(text: str) -> str:
    """Fold case, width, accents and punctuation; letters and digits of any script remain, words one space apart.

    Combining marks go (but the voice marks of kana), and so does what joins its neighbour into one grapheme: the
    bound in `recsys.data.spelling` relies on characters. A text without letters and digits keeps its signs.
    """
    text = with_signs = fold_width(text)
    if not text.isascii():
        split = unicodedata.normalize("NFKD", text)
        text = "".join(sign for sign in split if sign in _KANA_VOICE_MARKS or unicodedata.category(sign)[0] != "M")
        text = unicodedata.normalize("NFKC", text)
    kept = (sign if _is_standalone(sign) else " " for sign in text if sign not in _APOSTROPHES)
    return " ".join("".join(kept).split())[:MAX_QUERY_LENGTH] or with_signs


def compute_similarity(one: str, other: str) -> float:
    """Return the Jaro-Winkler similarity of two folded titles, or the share of equal characters if that is higher.

    Jaro-Winkler pairs letters greedily, and where a title repeats the letter that was mistyped the pairs shift:
    `cowqoy bebop` is only 0.90 of `cowboy bebop`. The share (one minus the edits per character) forgives one slip in
    ten characters wherever it happens.
    """
    edits = jellyfish.damerau_levenshtein_distance(one, other)
    share = 1.0 - edits / max(len(one), len(other), 1)
    return max(float(jellyfish.jaro_winkler_similarity(one, other)), share)


def _is_standalone(sign: str) -> bool:
    if not sign.isalnum():
        return False
    return sign.isascii() or _JOINING.search(unicodedata.name(sign, "")) is None
