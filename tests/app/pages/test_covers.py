import pytest
from defusedxml import ElementTree

from app.pages.covers import draw_cover


@pytest.mark.parametrize(
    "genres", [["Action"], ["Romance"], ["Space"], ["Music"], ["Mecha"], ["Fantasy"], ["School"], ["Horror"], []]
)
def test_a_cover_is_a_drawing_and_nothing_else(genres: list[str]) -> None:
    cover = draw_cover('<script>alert("Monster")</script>', genres)

    tags = {element.tag.partition("}")[2] for element in ElementTree.fromstring(cover).iter()}
    assert tags <= {"svg", "defs", "linearGradient", "stop", "rect", "circle", "ellipse", "path", "polygon", "g"}
    assert "alert" not in cover
    assert len(cover) < 6_000
    assert cover == draw_cover('<script>alert("Monster")</script>', genres)
    assert cover != draw_cover("Another title", genres)
