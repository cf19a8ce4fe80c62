"""Damage files as transport, editors and attackers do: the same seed always gives the same files."""

import gzip
from collections.abc import Iterator

import numpy as np

from tests.list_files import build_anilist, build_anilist_entry, build_mal_entry, build_mal_xml

_TOKENS = [
    b"<", b">", b"&", b"&#0;", b"&a;", b"]]>", b"<![CDATA[", b"<!--", b"-->", b"<!DOCTYPE a [<!ENTITY a 'b'>]>",
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true",
    b"NaN", b"1e999", b"-1", b"9" * 400, b"0", b"10", b"8.5", b"100", b"\\ud800", b"\n", b"\r", b"<manga>", b"<anime>",
    b"media_id,source,media_type\n", b"</anime>", b"PK\x03\x04", b"\x1f\x8b\x08",
]  # fmt: skip


def build_seeds() -> list[bytes]:
    """Small good files of every format, plain and packed."""
    mal = build_mal_xml(
        build_mal_entry(1, "Cowboy Bebop", 9, "Completed"),
        build_mal_entry(0, "Trigun", 8.5, "6"),
        build_mal_entry(10**18, "カウボーイ", 0, "On-Hold"),
    ).encode()
    rows = [
        build_anilist_entry(20, 20, "Naruto", 85, "REPEATING"),
        build_anilist_entry(21, None, "Trigun", 0, "CURRENT"),
    ]
    account = b'{"user":{"id":1},"lists":[{"series_type":0,"series_id":1,"score":85,"status":2}],"activity":[]}'
    yamtrack = b'media_id,source,media_type,title,score,status\n1,mal,anime,"Cowboy, Bebop",9.0,Completed\n'
    plain = [mal, mal.decode().encode("utf-16"), build_anilist(rows, "POINT_100").encode(), account, yamtrack]
    return [*plain, *(gzip.compress(content, mtime=0) for content in plain)]


def mutate_files(n_files: int, seed: int) -> Iterator[bytes]:
    """Yield damaged files: cut, spliced, with tokens put in, bytes turned, and parts repeated."""
    rng = np.random.default_rng(seed)
    seeds = build_seeds()
    for _ in range(n_files):
        content = bytearray(seeds[rng.integers(len(seeds) if rng.random() < 0.3 else len(seeds) // 2)])
        for _ in range(rng.integers(1, 4)):
            _mutate(content, rng, seeds)
        yield gzip.compress(bytes(content), 1, mtime=0) if rng.random() < 0.2 else bytes(content)


def _mutate(content: bytearray, rng: np.random.Generator, seeds: list[bytes]) -> None:
    first, last = sorted(int(place) for place in rng.integers(0, len(content) + 1, size=2))
    kind = rng.choice(6, p=[0.3, 0.1, 0.35, 0.1, 0.1, 0.05])
    if kind == 0:
        content[first:first] = _TOKENS[rng.integers(len(_TOKENS))]
    elif kind == 1:
        del content[first : min(last, first + 40)]
    elif kind == 2 and content:
        content[min(first, len(content) - 1)] ^= 1 << int(rng.integers(8))
    elif kind == 3:
        content[first:first] = bytes(content[first:last]) * int(rng.integers(1, 4))
    elif kind == 4:
        other = seeds[rng.integers(len(seeds))]
        content[first:last] = other[: int(rng.integers(len(other)))]
    else:
        del content[last:]
