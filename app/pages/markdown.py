"""Markdown as markup that is safe to show: HTML in it is shown as text, and only harmless addresses become links."""

from typing import Any, Final

from markdown_it import MarkdownIt
from markupsafe import Markup

# Pages have one heading of the first level of their own, and one of the second above what is rendered.
_SHIFT: Final = 2
_DEEPEST: Final = 6


def _shift_headings(state: Any) -> None:
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + _SHIFT, _DEEPEST)}"


# CommonMark with tables; without HTML, images and linkified text.
_PARSER: Final = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
_PARSER.core.ruler.push("shift_headings", _shift_headings)


def render_markdown(text: str) -> Markup:
    """Render Markdown with headings from the third level on.

    >>> str(render_markdown("# Lift <b>*high*</b>")).strip()
    '<h3>Lift &lt;b&gt;<em>high</em>&lt;/b&gt;</h3>'
    """
    return Markup(_PARSER.render(text))  # noqa: S704 - the parser escapes all text
