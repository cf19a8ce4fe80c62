"""Group titles into franchises: by heads of names, then by near names, then by the word that is the brand.

The thresholds were set on franchises of MyAnimeList that were checked by hand
(`tests/recsys/features/franchises.json`).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recsys.features.franchises.names import TitleNames
from recsys.features.franchises.relations import Pairs, Relations
from recsys.types import Mask, Positions

Groups = npt.NDArray[np.int64]

MAX_HEAD: Final = 250  # titles; a head that more titles have names no franchise
# Heads that are exclamations: `Oh! Edo Rocket`, `Yes! Precure 5`.
EXCLAMATIONS: Final = frozenset({"oh", "go", "go go", "yes", "aa", "hibike", "one", "ai", "re", "motto", "ganbare"})
MIN_COSINE: Final = 0.35
# Share of the titles of the smaller and of the larger group that must have a near name in the other.
SMALL_SHARE, LARGE_SHARE = 0.5, 0.2
# A brand: a word of so many titles, a quarter of them in one group, which nearly all carry it.
MIN_BRAND, MAX_BRAND = 3, 160
SURE_LIFT, STUDIO_LIFT, WEAK_LIFT = 3.0, 4.0, 2.0
ANCHOR_SHARE, CARRIED_SHARE, COVERED_SHARE = 0.25, 0.9, 0.75


def group_titles(relations: Relations) -> Groups:
    """Find the franchise of each title, numbered from 0, `(n_items,)`.

    Titles with the same head, or of which one name begins the other, belong together unless their users, studios and
    sources say otherwise; the shorter the name, the more has to confirm it.
    """
    first, second, lengths = _propose_by_names(relations.names)
    groups = _join(np.arange(len(relations.catalog)), *_confirm(relations.compare(first, second), lengths))
    groups = _join_near_names(relations, groups)
    return _number(_join_brands(relations, groups))


@dataclass(frozen=True)
class NameLengths:
    """Words and letters that two titles share, 0 for nothing, each `(3, n_pairs)`.

    The rows are of equal heads, of a whole name that begins the other one, and of a head that begins it.
    """

    words: Positions
    letters: Positions
    is_exclamation: Mask  # of the equal head


def _propose_by_names(names: TitleNames) -> tuple[Positions, Positions, NameLengths]:
    """Propose pairs of titles that share a head, or of which one name begins the other."""
    by_head, begins, by_prefix = _index_names(names)
    # For each pair the longest equal head, whole name that begins the other, and head that does.
    found: dict[tuple[int, int], list[str]] = {}

    def propose(one: int, other: int, kind: int, text: str) -> None:
        texts = found.setdefault((min(one, other), max(one, other)), ["", "", ""])
        texts[kind] = max(texts[kind], text, key=len)

    for head, holders in by_head.items():
        for one, other in combinations(sorted(holders) if len(holders) <= MAX_HEAD else (), 2):
            propose(one, other, 0, head)
    for text, holders in begins.items():
        for one in holders:
            kind = 1 if text in names.list_wholes(one) else 2
            for other in by_prefix.get(text, set()) - {one}:
                propose(one, other, kind, text)
    first, second = np.array(list(found), dtype=np.intp).reshape(-1, 2).T
    n_words = np.array([[len(text.split()) for text in texts] for texts in found.values()], dtype=np.intp)
    letters = np.array([[len(text) for text in texts] for texts in found.values()], dtype=np.intp)
    exclaimed = np.array([texts[0] in EXCLAMATIONS for texts in found.values()], dtype=np.bool_)
    of_words, of_letters = n_words.reshape(-1, 3).T, letters.reshape(-1, 3).T
    return first, second, NameLengths(of_words, of_letters, exclaimed)


Holders = dict[str, set[int]]


def _index_names(names: TitleNames) -> tuple[Holders, Holders, Holders]:
    """Return which titles have a head, a head or whole name, and a whole name that begins with some words."""
    by_head: Holders = defaultdict(set)
    begins: Holders = defaultdict(set)
    by_prefix: Holders = defaultdict(set)
    for position in range(len(names.heads[0])):
        for head in names.list_heads(position):
            by_head[head].add(position)
            begins[head].add(position)
        for whole in names.list_wholes(position):
            begins[whole].add(position)
            words = whole.split()
            for length in range(1, len(words) + 1):
                by_prefix[" ".join(words[:length])].add(position)
    return by_head, begins, by_prefix


def _confirm(pairs: Pairs, lengths: NameLengths) -> tuple[Positions, Positions]:
    """Return the proposed pairs that are confirmed."""
    lift, unknown, studio = pairs.have_lift, ~pairs.is_known, pairs.same_studio
    head, whole, part = lengths.words
    head_letters, whole_letters, part_letters = lengths.letters
    single = (studio & (lift(1.5) | unknown | (head_letters >= 5) | pairs.same_source)) | lift(6)
    single |= (head_letters >= 4) & ~lengths.is_exclamation & lift(2)
    single |= (head_letters >= 6) & ~lengths.is_exclamation & unknown
    by_head = np.select(
        [head >= 3, head == 2, head == 1],
        [unknown | studio | lift(0.7), unknown | studio | lift(1.5), single],
        default=False,
    )
    likely = lift(1.5) | unknown
    by_whole = (whole >= 3) | ((whole == 2) & (studio | lift(3)))
    by_whole |= (whole > 0) & studio & (((whole_letters >= 5) & likely) | lift(6))
    by_part = (part >= 3) & (studio | likely)
    by_part |= (part == 2) & studio & (lift(3) | unknown)
    by_part |= (part > 0) & (part_letters >= 5) & studio & lift(6)
    kept = by_head.astype(np.bool_) | by_whole | by_part
    return pairs.first[kept], pairs.second[kept]


def _join(groups: Groups, first: Positions, second: Positions) -> Groups:
    """Join the groups of pairs of titles."""
    n_groups = int(groups.max(initial=-1)) + 1
    links = coo_matrix((np.ones(len(first)), (groups[first], groups[second])), shape=(n_groups, n_groups))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)[groups]


def _join_near_names(relations: Relations, groups: Groups) -> Groups:
    """Join groups of one studio of which enough titles have near names, such as `Bakemonogatari` and its sequels."""
    first, second, cosines = _find_near_names(relations, groups)
    pairs = relations.compare(first, second)
    unknown = ~pairs.is_known
    close = pairs.same_source & (cosines >= 0.45)
    kept = (close & (pairs.have_lift(3) | unknown)) | pairs.have_lift(6) | (unknown & (cosines >= 0.6))
    supporters: dict[tuple[int, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for one, other in zip(first[kept].tolist(), second[kept].tolist(), strict=True):
        low, high = sorted((one, other), key=lambda position: groups[position])
        of_low, of_high = supporters[(int(groups[low]), int(groups[high]))]
        of_low.add(low)
        of_high.add(high)
    sizes = np.bincount(groups)
    joined = []
    for (low_group, high_group), (of_low, of_high) in supporters.items():
        shares = (
            (sizes[low_group], len(of_low) / sizes[low_group]),
            (sizes[high_group], len(of_high) / sizes[high_group]),
        )
        (_, small), (_, large) = shares if shares[0][0] <= shares[1][0] else shares[::-1]
        if small >= SMALL_SHARE and large >= LARGE_SHARE:
            joined.append((next(iter(of_low)), next(iter(of_high))))
    return _join(groups, *np.array(joined, dtype=np.intp).reshape(-1, 2).T)


def _find_near_names(relations: Relations, groups: Groups) -> tuple[Positions, Positions, npt.NDArray[np.float64]]:
    """Find pairs of different groups and one studio whose names are near."""
    by_studio: dict[str, list[int]] = defaultdict(list)
    for position, studios in enumerate(relations.studios):
        for studio in studios:
            by_studio[studio].append(position)
    found: dict[tuple[int, int], float] = {}
    for members in by_studio.values():
        positions = np.array(members)
        cosines = relations.names.compare(positions, positions)
        rows, columns = np.nonzero(
            np.triu(cosines >= MIN_COSINE, 1) & (groups[positions][:, None] != groups[positions])
        )
        for row, column in zip(rows, columns, strict=True):
            found[(members[row], members[column])] = float(cosines[row, column])
    first, second = np.array(list(found), dtype=np.intp).reshape(-1, 2).T
    return first, second, np.array(list(found.values()), dtype=np.float64)


def _join_brands(relations: Relations, groups: Groups) -> Groups:
    """Join groups that share the word of a brand, such as `gundam`, with the group that has most titles of it."""
    sizes = np.bincount(groups)
    joined: list[tuple[int, int]] = []
    for word, holders in _list_words(relations):
        by_group: dict[int, list[int]] = defaultdict(list)
        for position in holders:
            by_group[int(groups[position])].append(position)
        own = {group: members for group, members in by_group.items() if len(members) >= 0.5 * sizes[group]}
        if len(own) < 2:
            continue
        anchor = max(own, key=lambda group: len(own[group]))
        n_anchored, n_holders = len(own[anchor]), len(holders)
        if n_anchored < max(2, ANCHOR_SHARE * n_holders) or n_anchored < CARRIED_SHARE * sizes[anchor]:
            continue
        others = [group for group in own if group != anchor]
        taken = [group for group in others if _is_of_brand(relations, word, own[anchor], own[group], n_holders)]
        if taken and n_anchored + sum(len(own[group]) for group in taken) >= COVERED_SHARE * n_holders:
            joined += [(own[anchor][0], own[group][0]) for group in taken]
    return _join(groups, *np.array(joined, dtype=np.intp).reshape(-1, 2).T)


def _is_of_brand(relations: Relations, word: str, anchor: list[int], members: list[int], n_holders: int) -> bool:
    lift = relations.find_typical_lift(anchor, members)
    if lift is None:
        # Nobody rated it: a short film or commercial of a brand whose word hardly anything else carries.
        if len(anchor) >= max(10, 0.88 * n_holders) and len(word) >= 6 and len(members) <= 3:
            return True
    elif lift >= SURE_LIFT and len(word) >= 5 and any(word in relations.names.list_heads(title) for title in anchor):
        return True
    if not relations.share_studio(anchor, members) or (len(word) < 5 if lift is None else lift < WEAK_LIFT):
        return False
    cosine = float(relations.names.compare(np.array(anchor), np.array(members)).max())
    return cosine >= (0.3 if lift is None or lift >= STUDIO_LIFT else 0.8)


def _list_words(relations: Relations) -> Iterator[tuple[str, list[int]]]:
    """List words of names with the titles that carry them; those for adults only share too many."""
    holders: dict[str, set[int]] = defaultdict(set)
    for position in np.flatnonzero(~relations.is_adult).tolist():
        for word in {word for whole in relations.names.list_wholes(position) for word in whole.split()}:
            if len(word) >= (4 if word.isascii() else 3):
                holders[word].add(position)
    for word in sorted(holders):
        if MIN_BRAND <= len(holders[word]) <= MAX_BRAND:
            yield word, sorted(holders[word])


def _number(groups: Iterable[int]) -> Groups:
    """Give groups numbers from 0 in the order of their first titles."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(int(group), len(numbers)) for group in groups], dtype=np.int64)
