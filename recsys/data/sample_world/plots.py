"""Pieces of synopses: who, where, what happens and what stands in the way, by theme; details by motif."""

import json
from importlib import resources
from typing import NamedTuple


class Plot(NamedTuple):
    """Phrases of one theme; each fits any other in the sentences of `synopses`."""

    heroes: tuple[str, ...]
    settings: tuple[str, ...]
    events: tuple[str, ...]
    obstacles: tuple[str, ...]
    closings: tuple[str, ...]


_TEXTS = json.loads(resources.files(__package__).joinpath("plots.json").read_text(encoding="utf-8"))

PLOTS: dict[str, Plot] = {
    theme: Plot(**{part: tuple(phrases) for part, phrases in parts.items()})
    for theme, parts in _TEXTS["themes"].items()
}
MOTIF_PHRASES: dict[str, tuple[str, ...]] = {motif: tuple(phrases) for motif, phrases in _TEXTS["motifs"].items()}
