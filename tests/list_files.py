"""Small exports of watch lists, in the forms that the sites write."""

import json
from typing import Any


def build_mal_entry(item_id: int | str, title: str, score: float | str, status: str) -> str:
    """One `<anime>` block as MyAnimeList writes it."""
    return (
        f"<anime><series_animedb_id>{item_id}</series_animedb_id><series_title><![CDATA[{title}]]></series_title>"
        f"<series_type>TV</series_type><my_watched_episodes>3</my_watched_episodes>"
        f"<my_start_date>0000-00-00</my_start_date><my_score>{score}</my_score><my_status>{status}</my_status>"
        f"<my_comments><![CDATA[]]></my_comments><my_tags><![CDATA[]]></my_tags></anime>"
    )


def build_mal_xml(*entries: str) -> str:
    """A whole export."""
    information = "<myinfo><user_id>1</user_id><user_name>user-a</user_name></myinfo>"
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<myanimelist>\n{information}{"".join(entries)}\n</myanimelist>'


def build_anilist_entry(anilist_id: int, mal_id: int | None, title: str, score: float, status: str) -> dict[str, Any]:
    """One entry of `MediaListCollection`."""
    media = {"id": anilist_id, "idMal": mal_id, "title": {"romaji": title, "english": None, "native": None}}
    return {"score": score, "status": status, "progress": 3, "media": media}


def build_anilist(entries: list[dict[str, Any]], score_format: str | None = None) -> str:
    """The response to the query."""
    collection: dict[str, Any] = {"lists": [{"name": "All", "isCustomList": False, "entries": entries}]}
    if score_format is not None:
        collection["user"] = {"mediaListOptions": {"scoreFormat": score_format}}
    return json.dumps({"data": {"MediaListCollection": collection}})
