"""What a visitor likes to look at: the language of titles and the theme, in one plain cookie."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request

COOKIE: Final = "otaku_look"
SECONDS: Final = 365 * 86_400
LANGUAGES: Final = {"default": "Default", "english": "English", "japanese": "日本語"}
THEMES: Final = {"auto": "As the system", "dark": "Neon night", "light": "Paper day"}
_FIELDS: Final = {"english": "title_english", "japanese": "title_japanese"}


@dataclass(frozen=True)
class Preferences:
    """A title language of `LANGUAGES` and a theme of `THEMES`."""

    language: str = "default"
    theme: str = "auto"

    def choose_title(self, item: Any) -> str:
        """Choose the title of an item in the language, or its default one where it has none."""
        return str(getattr(item, _FIELDS.get(self.language, "title"), None) or item.title)

    def to_cookie(self) -> str:
        """Return the value of the cookie."""
        return f"{self.language}.{self.theme}"


def read_preferences(request: Request) -> Preferences:
    """Read the cookie; what it does not say, or says wrongly, is the default."""
    language, _, theme = request.cookies.get(COOKIE, "").partition(".")
    return pick({"language": language, "theme": theme}, Preferences())


def pick(given: Mapping[str, Any], standing: Preferences) -> Preferences:
    """Change what is given and known."""
    language, theme = given.get("language"), given.get("theme")
    return Preferences(
        language if language in LANGUAGES else standing.language, theme if theme in THEMES else standing.theme
    )
