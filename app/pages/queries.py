"""What a visitor asks for, as the address of the page says it: everything but an uploaded list."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

from starlette.datastructures import ImmutableMultiDict

from app.schemas.groups import MAX_GROUP
from recsys.data.folding import MAX_QUERY_LENGTH
from recsys.recommender.retriever import RANKER

Mode = Literal["favourites", "user", "list", "taste", "like", "together"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
LENGTHS: Final = (10, 20, 50)
MAX_TITLES: Final = 200
MAX_GENRES: Final = 40
WEIGHTS: Final = range(1, 6)
STANDARD_WEIGHT: Final = 3
_MAX_ID: Final = 2**63 - 1

Params = list[tuple[str, str]]


@dataclass(frozen=True)
class Controls:
    """How the list is cut and ordered.

    Parameters
    ----------
    types, genres, no_genres, ages
        Values of the catalog; empty for all, but for music videos, which are listed only where `types` names them.
    year_from, year_to
        Years, both included.
    variety
        0..100, how much of the score a more varied list may cost.
    niche
        -100..100: from titles that everybody knows to those that few do.
    all_seasons
        Whether a later season may come before an earlier one, and a franchise more than once.
    adult
        Whether titles for adults only are shown; the setting `OTAKU_ADULT` may show them to everyone.
    """

    types: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    no_genres: tuple[str, ...] = ()
    ages: tuple[str, ...] = ()
    year_from: int | None = None
    year_to: int | None = None
    variety: int = 0
    algorithm: str = RANKER
    length: int = LENGTHS[0]
    planned_first: bool = False
    adult: bool = False
    niche: int = 0
    all_seasons: bool = False
    left_out: tuple[int, ...] = ()

    @property
    def n_changed(self) -> int:
        """How many controls differ from the default."""
        return sum(getattr(self, name) != value for name, value in vars(Controls()).items())


@dataclass(frozen=True)
class PageQuery:
    """Who is asked for, and how the list is wanted.

    Parameters
    ----------
    favourites
        Item to rating 1..10, or None for a title that is liked and not rated.
    planned, dismissed
        Titles that the visitor put aside on a card.
    genres
        Genre to weight 1..5.
    group
        For `together`: a user id, or titles with commas between them, each.
    """

    mode: Mode = "favourites"
    favourites: Mapping[int, int | None] = field(default_factory=dict)
    planned: tuple[int, ...] = ()
    dismissed: tuple[int, ...] = ()
    user: int | None = None
    genres: Mapping[str, int] = field(default_factory=dict)
    like: str = ""
    group: tuple[str, ...] = ()
    controls: Controls = field(default_factory=Controls)

    @property
    def names_someone(self) -> bool:
        """Whether there is anything to recommend from."""
        given = {
            "favourites": self.favourites,
            "user": self.user is not None,
            "list": False,  # it comes as a form
            "taste": self.genres or self.controls.no_genres,
            "like": self.like,
            "together": len(self.group) > 1,
        }
        return bool(given[self.mode])

    def change(self, **fields: Any) -> "PageQuery":
        """Return a query that differs in some fields; those of the controls are taken too."""
        own = {name: value for name, value in fields.items() if name in PageQuery.__dataclass_fields__}
        rest = {name: value for name, value in fields.items() if name not in own}
        return replace(self, **own, controls=replace(own.get("controls", self.controls), **rest))

    def drop(self, name: str, value: Any) -> "PageQuery":
        """Return a query without one title, genre, type or age rating."""
        standing = getattr(self, name) if name in PageQuery.__dataclass_fields__ else getattr(self.controls, name)
        if isinstance(standing, Mapping):
            return self.change(**{name: {key: kept for key, kept in standing.items() if key != value}})
        return self.change(**{name: tuple(kept for kept in standing if kept != value)})

    def to_params(self, *, controls: bool = True, person: bool = True) -> Params:
        """Return what the address says, without defaults, in one order."""
        params: Params = [("mode", self.mode)] if self.mode != "favourites" else []
        if person:
            params += _list_person(self)
        return params + (_list_controls(self.controls) if controls else [])

    def to_url(self, path: str = "/") -> str:
        """Return the address of a page with this query."""
        params = self.to_params()
        return f"{path}?{urlencode(params)}" if params else path


def _list_person(query: PageQuery) -> Params:
    params: Params = []
    for item_id, rating in query.favourites.items():
        params.append(("f", str(item_id)))
        if rating is not None:
            params.append((f"r{item_id}", str(rating)))
    params += [("plan", str(item_id)) for item_id in query.planned]
    params += [("hide", str(item_id)) for item_id in query.dismissed]
    if query.user is not None:
        params.append(("user", str(query.user)))
    for genre, weight in query.genres.items():
        params.append(("g", genre))
        if weight != STANDARD_WEIGHT:
            params.append((f"w.{genre}", str(weight)))
    if query.like:
        params.append(("like", query.like))
    return params + [("person", person) for person in query.group]


def _list_controls(controls: Controls) -> Params:
    params = [("t", value) for value in controls.types]
    params += [("in", value) for value in controls.genres]
    params += [("no", value) for value in controls.no_genres]
    params += [("age", value) for value in controls.ages]
    single: dict[str, Any] = {
        "from": controls.year_from,
        "to": controls.year_to,
        "variety": controls.variety or None,
        "algorithm": controls.algorithm if controls.algorithm != RANKER else None,
        "k": controls.length if controls.length != LENGTHS[0] else None,
        "planned": "first" if controls.planned_first else None,
        "adult": "1" if controls.adult else None,
        "niche": controls.niche or None,
        "seasons": "all" if controls.all_seasons else None,
    }
    params += [(name, str(value)) for name, value in single.items() if value is not None]
    return params + [("out", str(item_id)) for item_id in controls.left_out]


Given = ImmutableMultiDict[str, Any]


def read_query(given: Given) -> PageQuery:
    """Read a query from an address or a form; what cannot be read counts as not given."""
    mode = _read_text(given, "mode")
    favourites = {}
    for item_id in _read_ids(given, "f"):
        favourites[item_id] = _read_number(given, f"r{item_id}", 1, 10)
    genres = {}
    for genre in _read_texts(given, "g", MAX_GENRES):
        genres[genre] = _read_number(given, f"w.{genre}", WEIGHTS[0], WEIGHTS[-1]) or STANDARD_WEIGHT
    return PageQuery(
        mode=mode if mode in MODES else "favourites",
        favourites=favourites,
        planned=_read_ids(given, "plan"),
        dismissed=_read_ids(given, "hide"),
        user=_read_number(given, "user", 0, _MAX_ID),
        genres=genres,
        like=_read_text(given, "like"),
        group=_read_texts(given, "person", MAX_GROUP),
        controls=_read_controls(given),
    )


def _read_controls(given: Given) -> Controls:
    length = _read_number(given, "k", 1, 100)
    return Controls(
        types=_read_texts(given, "t", MAX_GENRES),
        genres=_read_texts(given, "in", MAX_GENRES),
        no_genres=_read_texts(given, "no", MAX_GENRES),
        ages=_read_texts(given, "age", MAX_GENRES),
        year_from=_read_number(given, "from", 1900, 2100),
        year_to=_read_number(given, "to", 1900, 2100),
        variety=_read_number(given, "variety", 0, 100) or 0,
        algorithm=_read_text(given, "algorithm") or RANKER,
        length=length if length in LENGTHS else LENGTHS[0],
        planned_first=_read_text(given, "planned") == "first",
        adult=_read_text(given, "adult") == "1",
        niche=_read_signed(given, "niche", 100),
        all_seasons=_read_text(given, "seasons") == "all",
        left_out=_read_ids(given, "out"),
    )


def read_text(value: object, limit: int = MAX_QUERY_LENGTH) -> str:
    """Return a typed text in one line, cut to a length; "" for anything that is no text."""
    if not isinstance(value, str):
        return ""
    clean = "".join(sign if sign.isprintable() else " " for sign in value[: 2 * limit])
    return " ".join(clean.split())[:limit]


def read_number(value: object, low: int, high: int) -> int | None:
    """Return a whole number within bounds, None for anything else."""
    text = value.strip() if isinstance(value, str) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return int(text) if low <= int(text) <= high else None


def _read_text(given: Given, name: str) -> str:
    return read_text(given.get(name))


def _read_texts(given: Given, name: str, limit: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in map(read_text, given.getlist(name)) if text))[:limit]


def _read_number(given: Given, name: str, low: int, high: int) -> int | None:
    return read_number(given.get(name), low, high)


def _read_signed(given: Given, name: str, limit: int) -> int:
    """Read a whole number between both limits, 0 for anything else."""
    text = _read_text(given, name)
    value = read_number(text.removeprefix("-"), 0, limit) or 0
    return -value if text.startswith("-") else value


def _read_ids(given: Given, name: str) -> tuple[int, ...]:
    found: Iterable[int | None] = (read_number(value, 0, _MAX_ID) for value in given.getlist(name))
    return tuple(dict.fromkeys(item_id for item_id in found if item_id is not None))[:MAX_TITLES]
