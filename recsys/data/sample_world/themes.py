"""What stories of the sample world are about: genres with real shares, themes that bind them, small motifs.

The genre shares were measured on the MyAnimeList catalog of 2020 (17,562 titles). Themes and motifs are our own: a
theme is a group of genres with one audience, a motif is a detail (the sea, a kitchen) that only the synopsis tells.
"""

from dataclasses import dataclass

GENRE_SHARES: dict[str, float] = {
    "Comedy": 0.343, "Action": 0.221, "Fantasy": 0.187, "Adventure": 0.168, "Kids": 0.152, "Drama": 0.149,
    "Sci-Fi": 0.147, "Music": 0.128, "Shounen": 0.114, "Slice of Life": 0.109, "Romance": 0.108, "School": 0.094,
    "Supernatural": 0.084, "Hentai": 0.077, "Historical": 0.065, "Mecha": 0.063, "Magic": 0.062, "Seinen": 0.047,
    "Ecchi": 0.044, "Mystery": 0.041, "Sports": 0.041, "Shoujo": 0.039, "Parody": 0.038, "Super Power": 0.036,
    "Military": 0.033, "Dementia": 0.029, "Demons": 0.029, "Space": 0.028, "Horror": 0.026, "Martial Arts": 0.024,
    "Harem": 0.023, "Game": 0.022, "Psychological": 0.020, "Police": 0.014, "Samurai": 0.012, "Vampire": 0.008,
    "Cars": 0.008, "Thriller": 0.008, "Shounen Ai": 0.006, "Josei": 0.006, "Shoujo Ai": 0.005, "Yaoi": 0.002,
    "Yuri": 0.002,
}  # fmt: skip


@dataclass(frozen=True)
class Theme:
    """A kind of story.

    Parameters
    ----------
    name
        Key of its words in `vocabulary` and its sentences in `plots`.
    share
        Relative number of stories.
    appeal
        Added to the log popularity of its titles: users rate far fewer children's shorts than there are.
    genres
        Genres that its stories tend to carry.
    """

    name: str
    share: float
    appeal: float
    genres: tuple[str, ...]


THEMES: tuple[Theme, ...] = (
    Theme("battle", 0.12, 0.8, ("Action", "Shounen", "Super Power", "Martial Arts", "Adventure", "Comedy")),
    Theme("quest", 0.12, 0.6, ("Fantasy", "Adventure", "Magic", "Demons", "Action", "Shounen")),
    Theme("space", 0.11, 0.1, ("Sci-Fi", "Mecha", "Space", "Military", "Action", "Drama")),
    Theme("heart", 0.07, 0.6, ("Romance", "Drama", "Shoujo", "School", "Josei", "Slice of Life")),
    Theme("daily", 0.09, 0.3, ("Slice of Life", "Comedy", "School", "Seinen")),
    Theme("riddle", 0.05, 0.8, ("Mystery", "Psychological", "Thriller", "Police", "Seinen", "Drama", "Supernatural")),
    Theme("dread", 0.04, 0.4, ("Horror", "Supernatural", "Vampire", "Demons", "Dementia", "Mystery")),
    Theme("kids", 0.14, -1.4, ("Kids", "Comedy", "Fantasy", "Adventure")),
    Theme("gags", 0.08, -0.2, ("Comedy", "Parody", "Game", "Shounen")),
    Theme("tease", 0.04, 0.5, ("Ecchi", "Harem", "Romance", "Comedy", "School", "Supernatural")),
    Theme("adult", 0.07, -0.9, ("Hentai",)),
    Theme("past", 0.05, 0.0, ("Historical", "Samurai", "Martial Arts", "Drama", "Military", "Action")),
    Theme("sport", 0.04, 0.2, ("Sports", "School", "Shounen", "Cars", "Drama")),
    Theme("stage", 0.09, -1.2, ("Music", "Slice of Life", "Dementia", "Comedy")),
    Theme("boys", 0.007, 0.0, ("Shounen Ai", "Yaoi", "Romance", "Drama")),
    Theme("girls", 0.006, 0.0, ("Shoujo Ai", "Yuri", "Romance", "School")),
)

MOTIFS: tuple[str, ...] = (
    "sea", "winter", "kitchen", "machines", "cats", "stars", "trains", "letters", "festival", "mountains", "clocks",
    "birds",
)  # fmt: skip

GENRES: tuple[str, ...] = tuple(sorted(GENRE_SHARES))
ADULT_THEME = next(position for position, theme in enumerate(THEMES) if theme.name == "adult")
