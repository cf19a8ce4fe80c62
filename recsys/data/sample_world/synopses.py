"""Synopses of several sentences, put together from the phrases of a story's themes and motif."""

import numpy as np

from recsys.data.sample_world.plots import MOTIF_PHRASES, PLOTS, Plot
from recsys.data.sample_world.stories import Stories
from recsys.data.sample_world.themes import MOTIFS, THEMES
from recsys.data.sample_world.titles import draw_name
from recsys.data.sample_world.vocabulary import Word
from recsys.data.sample_world.works import KINDS, Works

OPENINGS = (
    "In {setting}, {hero} named {name} {event}.",
    "{name}, {hero}, {event} in {setting}.",
    "The story follows {name}, {hero}. In {setting}, {name} {event}.",
    "{setting_upper}: this is where {name}, {hero}, {event}.",
    "Life in {setting} seems settled until {name}, {hero}, {event}.",
)
CONFLICTS = (
    "In the way: {obstacle}.",
    "What nobody foresaw: {obstacle}.",
    "Soon {name} has to face {obstacle}.",
    "Together with {friend}, {name} struggles with {obstacle}.",
    "{friend} offers help, yet nobody is prepared for {obstacle}.",
)
TURNS = (
    "Before long, {friend} {event}, and nothing stays the same.",
    "Meanwhile {friend}, {hero}, {event}.",
    "At the same time {friend} {event} in {setting}.",
)
SHORT_LATER = (
    "Continuation of {title}.",
    "New episodes of {title}.",
    "Side stories from {title}.",
    "{title} returns with {name} and {friend}.",
)
TURN_SHARE, SHORT_LATER_SHARE, SHORT_FIRST_SHARE = 0.6, 0.3, 0.2


def build_synopses(rng: np.random.Generator, stories: Stories, works: Works, stems: list[Word]) -> list[str]:
    """Write one synopsis per title; titles of a franchise share the cast."""
    cast = [(draw_name(rng).romaji, draw_name(rng).romaji) for _ in stems]
    second = _second_themes(stories)
    texts = []
    for story, installment, kind in zip(works.story, works.installment, works.kind, strict=True):
        name, friend = cast[story]
        if installment > 0 and rng.random() < SHORT_LATER_SHARE * (2 if KINDS[kind] == "Special" else 1):
            texts.append(_pick(rng, SHORT_LATER).format(title=stems[story].romaji, name=name, friend=friend))
            continue
        plots = PLOTS[THEMES[stories.main_theme[story]].name], PLOTS[THEMES[second[story]].name]
        motif = MOTIFS[stories.main_motif[story]]
        texts.append(_write(rng, plots, motif, name, friend))
    return texts


def _second_themes(stories: Stories) -> list[int]:
    """Return the second heaviest theme of each story, the main one where there is none."""
    others = stories.themes.copy()
    others[np.arange(len(others)), stories.main_theme] = 0
    second = np.where(others.max(axis=1) > 0, np.argmax(others, axis=1), stories.main_theme)
    return [int(theme) for theme in second]


def _write(rng: np.random.Generator, plots: tuple[Plot, Plot], motif: str, name: str, friend: str) -> str:
    main, second = plots
    setting = _pick(rng, main.settings)
    slots = {"name": name, "friend": friend, "setting": setting, "setting_upper": setting[0].upper() + setting[1:]}
    sentences = [_pick(rng, OPENINGS).format(**slots, hero=_pick(rng, main.heroes), event=_pick(rng, main.events))]
    if rng.random() > SHORT_FIRST_SHARE:
        sentences.append(_pick(rng, CONFLICTS).format(**slots, obstacle=_pick(rng, main.obstacles)))
    if rng.random() < TURN_SHARE:
        turn = {**slots, "setting": _pick(rng, second.settings)}
        sentences.append(
            _pick(rng, TURNS).format(**turn, hero=_pick(rng, second.heroes), event=_pick(rng, second.events))
        )
    sentences.append(_pick(rng, MOTIF_PHRASES[motif]) + ".")
    if rng.random() > SHORT_FIRST_SHARE:
        sentences.append(_pick(rng, main.closings))
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _pick(rng: np.random.Generator, phrases: tuple[str, ...]) -> str:
    return phrases[int(rng.integers(len(phrases)))]
