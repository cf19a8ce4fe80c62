"""Generated covers: an SVG that depends on a title and its genres alone, the same on every machine."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Final

WIDTH, HEIGHT = 120, 168
NEON: Final = 310  # the hue that second colours lean to
Numbers = Callable[[int], int]

# Hue of the sky and motif in front of it, by genre; the first genre of a title that is listed here decides.
_GENRES: Final[dict[str, tuple[int, str]]] = {
    "Horror": (350, "moon"), "Mystery": (265, "moon"), "Psychological": (285, "rings"), "Thriller": (345, "city"),
    "Mecha": (205, "city"), "Sci-Fi": (195, "rings"), "Space": (235, "rings"), "Music": (310, "waves"),
    "Sports": (28, "rays"), "Romance": (335, "petals"), "Shoujo": (325, "petals"), "Slice of Life": (95, "hills"),
    "Supernatural": (275, "moon"), "Vampire": (355, "moon"), "Magic": (290, "stars"), "Fantasy": (160, "peaks"),
    "Adventure": (175, "peaks"), "Historical": (35, "peaks"), "Samurai": (8, "rays"), "Military": (60, "city"),
    "Police": (215, "city"), "School": (200, "hills"), "Comedy": (45, "rays"), "Drama": (225, "waves"),
    "Action": (12, "rays"), "Shounen": (20, "rays"), "Seinen": (245, "city"), "Kids": (55, "hills"),
}  # fmt: skip


def draw_cover(title: str, genres: Sequence[str]) -> str:
    """Draw the cover of a title as an SVG document without text, script or reference.

    The genres give hue and motif, the digest of the title everything else.
    """
    digest = hashlib.sha256(title.encode("utf-8", "replace")).digest()

    def number(place: int) -> int:
        """Read a byte of the digest, 0..255."""
        return digest[place % len(digest)]

    hue, motif = next((_GENRES[genre] for genre in genres if genre in _GENRES), (number(0) * 360 // 256, "stars"))
    hue = (hue + number(1) % 31 - 15) % 360
    second = _lean(hue, number(2))
    sun_x, sun_y, sun = 30 + number(3) % 60, 38 + number(4) % 38, 18 + number(5) % 16
    sky = (
        f'<linearGradient id="s" x2="0" y2="1"><stop stop-color="hsl({hue} 70% 13%)"/>'
        f'<stop offset=".62" stop-color="hsl({(hue + 18) % 360} 72% 32%)"/>'
        f'<stop offset="1" stop-color="hsl({second} 82% 54%)"/></linearGradient>'
        f'<linearGradient id="o" x2="0" y2="1"><stop stop-color="hsl({second} 95% 80%)"/>'
        f'<stop offset="1" stop-color="hsl({(second + 320) % 360} 90% 58%)"/></linearGradient>'
    )
    stars = "".join(
        f'<circle cx="{number(6 + i) * WIDTH // 256}" cy="{number(14 + i) * 90 // 256}" r=".{5 + number(i) % 5}"/>'
        for i in range(9)
    )
    body = _MOTIFS[motif](number, hue, second)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><defs>{sky}</defs>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#s)"/><g fill="#fff" fill-opacity=".7">{stars}</g>'
        f'<circle cx="{sun_x}" cy="{sun_y}" r="{sun}" fill="url(#o)"/>{body}</svg>'
    )


def _lean(hue: int, noise: int) -> int:
    """Return the hue half-way to magenta: glowing beside the first one, never muddy."""
    return (hue + ((NEON - hue + 180) % 360 - 180) // 2 + noise % 25 - 12) % 360


def _draw_peaks(number: Numbers, hue: int, _second: int) -> str:
    ranges = []
    for row, (base, light) in enumerate(((104, 24), (122, 16), (142, 9))):
        points = [f"0,{base}"]
        points += [
            f"{x},{base - number(8 + row * 5 + i) % 34 + 10 * (i % 2)}" for i, x in enumerate((14, 36, 58, 82, 104))
        ]
        ranges.append(f'<polygon points="{" ".join(points)} 120,{base} 120,168 0,168" fill="hsl({hue} 55% {light}%)"/>')
    return "".join(ranges)


def _draw_hills(number: Numbers, hue: int, second: int) -> str:
    return "".join(
        f'<ellipse cx="{number(9 + i) % 120}" cy="{150 + 8 * i}" rx="{70 + number(12 + i) % 40}" ry="{44 - 7 * i}" '
        f'fill="hsl({(hue if i % 2 else second)} 50% {26 - 7 * i}%)"/>'
        for i in range(3)
    )


def _draw_city(number: Numbers, hue: int, second: int) -> str:
    blocks, x = [], -2
    for i in range(12):
        width, height = 8 + number(i + 7) % 9, 26 + number(i + 17) % 62
        fill = f"hsl({hue} 45% {7 + i % 3 * 4}%)"
        blocks.append(f'<rect x="{x}" y="{168 - height}" width="{width}" height="{height}" fill="{fill}"/>')
        lit = "".join(
            f'<rect x="{x + 2}" y="{172 - height + step * 9}" width="2" height="3"/>'
            for step in range(height // 9)
            if number(i + step) % 3 == 0
        )
        blocks.append(f'<g fill="hsl({second} 95% 72%)">{lit}</g>')
        x += width
    return "".join(blocks)


def _draw_waves(number: Numbers, hue: int, second: int) -> str:
    waves = []
    for i in range(5):
        y, swing = 100 + i * 15, 6 + number(i + 5) % 12
        waves.append(
            f'<path d="M0 {y} q15 -{swing} 30 0 t30 0 t30 0 t30 0 V168 H0Z" '
            f'fill="hsl({hue if i % 2 else second} 60% {38 - 6 * i}%)" fill-opacity=".85"/>'
        )
    return "".join(waves)


def _draw_rays(number: Numbers, hue: int, second: int) -> str:
    x, y = 60, 168
    rays = []
    for i in range(9):
        left, right = math.pi * (i * 2 + 0.35) / 18, math.pi * (i * 2 + 1.3) / 18
        ends = [f"{x + 190 * math.cos(angle):.0f},{y - 190 * math.sin(angle):.0f}" for angle in (left, right)]
        rays.append(f'<polygon points="{x},{y} {ends[0]} {ends[1]}"/>')
    rise = 20 + number(9) % 26
    return (
        f'<g fill="hsl({second} 95% 66%)" fill-opacity=".24">{"".join(rays)}</g>'
        f'<polygon points="0,168 0,{150 - rise // 2} {30 + number(10) % 24},{150 - rise} 70,{160 - rise // 3} '
        f'{92 + number(11) % 14},{146 - rise} 120,156 120,168" fill="hsl({hue} 60% 9%)"/>'
    )


def _draw_petals(number: Numbers, _hue: int, second: int) -> str:
    petals = []
    for i in range(16):
        x, y, turn = number(i + 3) * 120 // 256, 40 + number(i + 11) * 124 // 256, number(i + 19) * 360 // 256
        size = 5 + number(i + 23) % 7
        petals.append(
            f'<path d="M0 0C{size} -{size} {size * 2} 0 0 {size * 2}C-{size * 2} 0 -{size} -{size} 0 0Z" '
            f'transform="translate({x} {y}) rotate({turn})"/>'
        )
    return f'<g fill="hsl({second} 90% 82%)" fill-opacity=".8">{"".join(petals)}</g>'


def _draw_moon(number: Numbers, hue: int, second: int) -> str:
    trunks = "".join(
        f'<path d="M{x} 168 l3 -{40 + number(i + 6) % 60} l3 {40 + number(i + 6) % 60}Z"/>'
        for i, x in enumerate(range(-2, 120, 9))
    )
    return (
        f'<circle cx="{50 + number(7) % 40}" cy="60" r="30" fill="none" stroke="hsl({second} 80% 80%)"/>'
        f'<g fill="hsl({hue} 50% 7%)">{trunks}</g><rect y="150" width="120" height="18" fill="hsl({hue} 50% 6%)"/>'
    )


def _draw_rings(number: Numbers, hue: int, second: int) -> str:
    x, y, turn = 40 + number(8) % 40, 84 + number(9) % 34, number(10) % 60 - 30
    rings = "".join(
        f'<ellipse cx="{x}" cy="{y}" rx="{40 + 12 * i}" ry="{9 + 4 * i}" transform="rotate({turn} {x} {y})" fill="none"'
        f' stroke="hsl({second} 95% {70 - 8 * i}%)" stroke-width="{2.4 - 0.5 * i:.1f}"/>'
        for i in range(3)
    )
    return f'<circle cx="{x}" cy="{y}" r="{24 + number(11) % 10}" fill="hsl({hue} 62% 16%)"/>{rings}'


def _draw_stars(number: Numbers, _hue: int, second: int) -> str:
    stars = []
    for i in range(11):
        x, y, size = number(i + 4) * 120 // 256, number(i + 13) * 168 // 256, 3 + number(i + 21) % 9
        near, far = size - 1, -size
        right = f"q1 {near} {size} {size}q{-near} 1 {far} {size}"
        stars.append(f'<path d="M{x} {y - size}{right}q-1 {-near} {far} {far}q{near} -1 {size} {far}Z"/>')
    return f'<g fill="hsl({second} 95% 84%)" fill-opacity=".85">{"".join(stars)}</g>'


_MOTIFS: Final = {
    "peaks": _draw_peaks, "hills": _draw_hills, "city": _draw_city, "waves": _draw_waves, "rays": _draw_rays,
    "petals": _draw_petals, "moon": _draw_moon, "rings": _draw_rings, "stars": _draw_stars,
}  # fmt: skip
