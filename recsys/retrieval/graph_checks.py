"""Look through the file of an hnswlib graph before hnswlib does, which follows its links wherever they lead.

The layout is that of `HierarchicalNSW::saveIndex`: a header, the points with their links of the lowest level, their
vector and their label, and for each point its links of the levels above.
"""

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys.exceptions import ArtifactError

_HEADER: Final = struct.Struct("<6Qi I 3Q d Q".replace(" ", ""))
_MAX_LINKS: Final = 1_024
_MAX_LEVEL: Final = 64
_MAX_DIMENSIONS: Final = 65_536
_MAX_WIDTH: Final = 100_000  # how widely points are searched for


def check_graph(path: Path, *, n_points: int, n_dimensions: int) -> None:
    """Check that a graph holds so many points, labelled 0, 1, 2 …, and that every link leads to one of its level.

    Raises
    ------
    ArtifactError
        If it does not, or if the file is shorter or longer than it declares.
    """
    content = path.read_bytes()
    if len(content) < _HEADER.size:
        raise ArtifactError(f"{path.name} was truncated")
    numbers = _HEADER.unpack_from(content)
    offset, room, count, size, label_offset, data_offset, top, entry, max_links, max_base, m, factor, width = numbers
    n_base, n_vector = 4 * max_base + 4, 4 * n_dimensions
    is_sound = (
        0 < n_dimensions <= _MAX_DIMENSIONS
        and 0 < max_links <= _MAX_LINKS
        and max_links <= max_base <= 2 * _MAX_LINKS
        and (offset, data_offset, label_offset, size) == (0, n_base, n_base + n_vector, n_base + n_vector + 8)
        and count == n_points <= room
        and len(content) >= _HEADER.size + count * size
        and 0 < m <= max_links
        and 0 < width <= _MAX_WIDTH
        and 0 < factor <= 10  # NaN is not either
        and (-1 <= top <= _MAX_LEVEL)
        and (entry < count if count else top == -1)
    )
    if not is_sound:
        raise ArtifactError(f"{path.name} has another header than an index of {n_points} users")
    levels = _check_upper_levels(path, content[_HEADER.size + count * size :], count, max_links)
    if count and (levels.max() != top or levels[entry] != top):
        raise ArtifactError(f"{path.name} begins at a point that is not on its highest level")
    _check_points(path, content, count, max_base, n_dimensions)


def _check_points(path: Path, content: bytes, count: int, max_base: int, n_dimensions: int) -> None:
    layout: Any = [
        ("n_links", "<u2"),
        ("mark", "<u2"),
        ("links", "<u4", (max_base,)),
        ("vector", "<f4", (n_dimensions,)),
        ("label", "<u8"),
    ]
    points = np.frombuffer(content, dtype=np.dtype(layout), count=count, offset=_HEADER.size)
    used = np.arange(max_base) < points["n_links"][:, None]
    if (points["n_links"] > max_base).any() or (points["links"][used] >= count).any() or points["mark"].any():
        raise ArtifactError(f"{path.name} links to a point that it does not hold")
    if not np.array_equal(np.sort(points["label"]), np.arange(count)):
        raise ArtifactError(f"{path.name} does not label its points 0 to {count - 1}")
    if not np.isfinite(points["vector"]).all():
        raise ArtifactError(f"{path.name} holds a vector that is none")


def _check_upper_levels(path: Path, content: bytes, count: int, max_links: int) -> npt.NDArray[np.int64]:
    """Check the links above the lowest level and return the level of each point."""
    block = 4 * max_links + 4
    starts, levels, place = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64), 0
    for point in range(count):
        if place + 4 > len(content):
            raise ArtifactError(f"{path.name} was truncated")
        n_bytes = int.from_bytes(content[place : place + 4], "little")
        if n_bytes % block or n_bytes > _MAX_LEVEL * block:
            raise ArtifactError(f"{path.name} declares {n_bytes} bytes of links, no multiple of {block}")
        starts[point], levels[point] = place + 4, n_bytes // block
        place += 4 + n_bytes
    if place != len(content):
        raise ArtifactError(f"{path.name} is longer or shorter than it declares")
    for point in np.flatnonzero(levels).tolist():
        for level in range(1, int(levels[point]) + 1):
            words = np.frombuffer(content, "<u4", max_links + 1, int(starts[point]) + (level - 1) * block)
            n_links = int(words[0])
            links = words[1 : n_links + 1]
            if n_links > max_links or (links >= count).any() or (levels[links] < level).any():
                raise ArtifactError(f"{path.name} links to a point that is not on level {level}")
    return levels
