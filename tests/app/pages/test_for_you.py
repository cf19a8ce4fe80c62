"""The pages as a browser without JavaScript gets them: every way to ask, and what goes wrong."""

import gzip
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from pydantic import SecretStr

from app.pages.rendering import ASSETS
from recsys.settings import Settings
from tests.app.harness import FolderSource, TestClient, open_client
from tests.factories import ADULT_ITEM
from tests.list_files import build_mal_entry, build_mal_xml

HTML = {"Accept": "text/html"}
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def page_client(model_folders: dict[int, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        home=tmp_path_factory.mktemp("pages"),
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/nothing"),
        mlflow_tracking_uri="http://127.0.0.1:1",
        port=0,
        wait_seconds=20,
        database_seconds=20,
        trial_seconds=0,
        rate_limit="100000/day",
    )
    with open_client(settings, FolderSource(dict(model_folders))) as opened:
        opened.headers.update(HTML)
        yield opened


def find_titles(page: str) -> list[str]:
    return [unescape(title) for title in re.findall(r'<h3 id="t\d+"><a href="[^"]*">(.*?)</a>', page)]


def find_token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found[1]


def test_the_first_page_offers_every_way_to_ask_and_a_quick_start(page_client: TestClient) -> None:
    page = page_client.get("/")

    assert page.status_code == 200
    for label in ("Favourites", "My list", "My id", "By taste", "Like this", "Together"):
        assert f">{label}</a>" in page.text
    assert "Add Cowboy Bebop to your favourites" in page.text
    assert '<html lang="en"' in page.text


def test_headers_allow_nothing_from_elsewhere_and_nothing_inline(page_client: TestClient) -> None:
    page = page_client.get("/?f=1")

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "trusted-types 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert not re.search(r"<[^>]+\s(?:on\w+|style)=", page.text)
    assert "<script>" not in page.text


def test_favourites_give_ten_cards_with_reasons_that_do_not_hold_what_is_known(page_client: TestClient) -> None:
    page = page_client.get("/?f=30&r30=9&f=19").text

    titles = find_titles(page)
    assert len(titles) == len(set(titles)) == 10
    assert not {"Monster", "Neon Genesis Evangelion"} & set(titles)
    assert "You liked Neon Genesis Evangelion." in page
    assert "How well it knows you" in page


def test_a_typed_favourite_goes_to_the_address_that_holds_it(page_client: TestClient) -> None:
    exact = page_client.get("/?add=Monster&f=30", follow_redirects=False)
    typo = page_client.get("/?add=cowboy+bebpo")

    assert exact.status_code == 303
    assert exact.headers["location"] == "/?f=30&f=19"
    assert "was read as Cowboy Bebop" in typo.text
    assert "was read as" not in page_client.get("/?f=1").text  # it is said once


def test_an_unknown_title_is_told_with_titles_that_are_perhaps_meant(page_client: TestClient) -> None:
    page = page_client.get("/?add=Naruto+season+7&f=30")

    assert page.status_code == 404
    assert "No title matches “Naruto season 7”." in unescape(page.text)
    assert 'href="/?f=30&amp;f=20">Naruto</a>' in page.text


def test_seasons_and_the_niche_slider_are_controls_that_can_be_taken_back(page_client: TestClient) -> None:
    plain = page_client.get("/?f=30").text
    page = page_client.get("/?f=30&niche=100&seasons=all").text
    assert "rarely watched 100" in page
    assert "any season" in page
    assert 'name="seasons" value="all" checked' in page
    assert len(find_titles(page)) == len(find_titles(plain)) == 10
    assert find_titles(page) != find_titles(plain)
    back = re.search(r'href="([^"]+)" aria-label="Rarely watched 100; remove"', page)
    assert back
    assert "niche" not in back[1]
    assert "seasons=all" in back[1]
    assert page_client.get("/?f=30&niche=1000&seasons=odd").status_code == 200


def test_lists_as_files_find_titles_together(page_client: TestClient) -> None:
    token = find_token(page_client.get("/?mode=together").text)
    ours = build_mal_xml(
        build_mal_entry(1, "Cowboy Bebop", 9, "Completed"), build_mal_entry(19, "Monster", 0, "Completed")
    )
    theirs = build_mal_xml(build_mal_entry(30, "Neon Genesis Evangelion", 8, "Completed"))

    def send(*contents: str, **fields: Any) -> Any:
        files = [("files", (f"{number}.xml", content.encode())) for number, content in enumerate(contents)]
        return page_client.post("/together", data={"token": token, **fields}, files=files or None)

    both = send(ours, theirs)
    assert both.status_code == 200
    assert both.text.count("<span>List 2</span>") == len(find_titles(both.text)) == 10
    # What is on anybody's list is seen, rated or not.
    assert not {"Cowboy Bebop", "Monster", "Neon Genesis Evangelion"} & set(find_titles(both.text))
    held = re.findall(r'name="held" value="([^"]+)"', both.text)
    assert held == ["1.9.c 19.0.c", "30.8.c"]
    again = send(held=held, k="20")
    assert len(find_titles(again.text)) == 20
    with_person = send(theirs, person="Trigun")
    assert with_person.text.count("<span>Person 1</span>") == with_person.text.count("<span>List 1</span>") == 10
    assert send(theirs).status_code == 422
    assert send(held=["1.9.c"] * 6).status_code == 422
    assert send("<nonsense", theirs).status_code == 422
    plain = send(person=["Monster", "Trigun"])
    assert str(plain.url).endswith("/?mode=together&person=Monster&person=Trigun")
    assert page_client.post("/together", data={"token": "x", "person": "Monster"}).status_code == 403


def test_taste_like_and_together_answer(page_client: TestClient) -> None:
    taste = page_client.get("/?mode=taste&g=Romance&w.Romance=5&no=Drama").text
    like = page_client.get("/?mode=like&like=cowboy+bebpo").text
    together = page_client.get("/?mode=together&person=Monster&person=Trigun,Naruto").text

    assert len(find_titles(taste)) == 10
    assert "no Drama" in taste
    assert "Like Cowboy Bebop" in like
    assert len(find_titles(together)) == 10
    assert not {"Monster", "Trigun", "Naruto"} & set(find_titles(together))
    assert together.count("<span>Person 2</span>") == 10
    assert page_client.get("/?mode=together&person=Monster&person=qqqqzzzz").status_code == 404


def test_controls_are_in_the_address_and_come_off_again(page_client: TestClient) -> None:
    page = page_client.get("/?f=30&t=Movie&from=1995&in=Action&variety=40").text

    shown = [fact for fact in re.findall(r'<p class="facts">(.*?)</p>', page, re.DOTALL) if "episodes" in fact]
    assert shown
    assert all("Movie" in fact for fact in shown)
    assert 'href="/?f=30&amp;in=Action&amp;from=1995&amp;variety=40" aria-label="Kinds Movie; remove"' in page
    assert "Nothing is left that fits." in page_client.get("/?f=30&from=2099").text


def test_titles_for_adults_are_not_on_any_page(page_client: TestClient) -> None:
    pages = [
        page_client.get(f"/?mode=taste&g={genre}&k=50").text for genre in ("Action", "Shounen", "Space", "Romance")
    ]
    pages += [page_client.get("/?f=10001&k=50").text, page_client.get("/titles/10037").text]

    assert any("Sword of the 37th Garden" in page for page in pages)
    assert not any(f"/titles/{ADULT_ITEM}" in page for page in pages)


def test_whatever_is_typed_is_shown_as_text(page_client: TestClient) -> None:
    for field in (
        "add",
        "like&mode=like&like",
        "mode=together&person=Monster&person",
        "mode=taste&g",
        "in",
        "algorithm",
    ):
        page = page_client.get("/?f=30&" + field + "=" + EVIL.replace("<", "%3C").replace(">", "%3E"))
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


def test_an_unreachable_database_leaves_everything_else_working(page_client: TestClient) -> None:
    page = page_client.get("/?mode=user&user=7")

    assert page.status_code == 503
    assert "The user database does not answer." in page.text
    assert page_client.get("/?f=30").status_code == 200


def test_errors_are_pages_for_browsers_and_problems_for_programs(page_client: TestClient) -> None:
    page = page_client.get("/titles/999999")
    problem = page_client.get("/titles/999999", headers={"Accept": "application/json"})

    assert page.status_code == problem.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "Nothing found" in page.text
    assert problem.headers["content-type"] == "application/problem+json"
    assert page_client.get("/no/such/page").headers["content-type"].startswith("text/html")


def test_a_title_page_tells_facts_similar_titles_franchise_and_where_it_stands(page_client: TestClient) -> None:
    page = page_client.get("/titles/1?f=30&f=20").text

    assert "カウボーイビバップ" in page
    assert "The franchise, in order" in page
    assert page.index("Cowboy Bebop: Tengoku no Tobira") > page.index("The franchise, in order")
    assert "For you" in page
    assert "You gave it <b>9</b>" in page_client.get("/titles/30?f=30&f=20").text
    assert "Similar titles" in page


def test_the_language_of_titles_is_remembered(page_client: TestClient) -> None:
    before = page_client.get("/titles/440")
    assert "<h1>Shoujo Kakumei Utena</h1>" in before.text
    form = {"token": find_token(before.text), "language": "english", "theme": "light", "here": "/titles/440"}
    after = page_client.post("/look", data=form)

    assert after.url.path == "/titles/440"
    assert "<h1>Revolutionary Girl Utena</h1>" in after.text
    assert 'data-theme="light"' in after.text
    away = page_client.post(
        "/look", data={**form, "here": "//evil.example", "language": "default"}, follow_redirects=False
    )
    assert away.headers["location"] == "/"


def test_feedback_without_an_id_goes_into_the_address(page_client: TestClient) -> None:
    page = page_client.get("/?f=30&r30=9").text
    first = re.findall(r'name="item" value="(\d+)"', page)
    form = {"token": find_token(page), "query": "f=30&r30=9", "version": "1"}

    seen = page_client.post("/my/feedback", data={**form, "item": first[0], "kind": "seen", "rating": "8"})
    assert seen.url.query.decode() == f"f=30&r30=9&f={first[0]}&r{first[0]}=8"
    assert "is rated 8; the list is new." in seen.text
    never = page_client.post("/my/feedback", data={**form, "item": first[1], "kind": "dismissal"})
    assert f"hide={first[1]}" in str(never.url)
    assert f'name="item" value="{first[1]}"' not in never.text


def test_a_form_of_another_site_is_refused(page_client: TestClient) -> None:
    token = find_token(page_client.get("/?f=30").text)
    form = {"item": "19", "kind": "plan", "query": "f=30"}

    for headers, given in (({}, "forged.1.x"), ({}, ""), ({"Sec-Fetch-Site": "cross-site"}, token)):
        refused = page_client.post("/my/feedback", data={**form, "token": given}, headers=headers)
        assert refused.status_code == 403
        assert "comes from another site" in refused.text


def upload(client: TestClient, content: bytes) -> Any:
    token = find_token(client.get("/?mode=list").text)
    return client.post("/list", data={"token": token}, files={"file": ("list", content)})


LIST = build_mal_xml(
    build_mal_entry(1, "Cowboy Bebop", 9, "Completed"),
    build_mal_entry(19, "Monster", 3, "Dropped"),
    build_mal_entry(20, "Naruto", 0, "Plan to Watch"),
    build_mal_entry(999_999_999, EVIL, 7, "Completed"),
)


def test_a_list_is_shown_before_it_is_used_and_stored_nowhere(page_client: TestClient) -> None:
    raw = LIST.encode() if isinstance(LIST, str) else LIST
    preview = upload(page_client, gzip.compress(raw))

    assert preview.status_code == 200
    assert "<b>3</b> titles found, <b>2</b> of them rated" in preview.text
    assert "<script>alert" not in preview.text
    entries = re.search(r'name="entries" value="([^"]+)"', preview.text)
    assert entries
    form = {"token": find_token(preview.text), "entries": entries[1]}
    found = page_client.post("/list/recommendations", data=form)
    assert found.status_code == 200
    assert len(find_titles(found.text)) == 10
    assert not {"Cowboy Bebop", "Monster", "Naruto"} & set(find_titles(found.text))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"no list at all", 422),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><myanimelist>&a;</myanimelist>', 422),
        (gzip.compress(b"<myanimelist>" + b" " * (70 << 20), 1), 413),
        (b"x" * (11 << 20), 413),
    ],
    ids=["empty", "text", "entities", "bomb", "too large"],
)
def test_a_hostile_file_ends_with_a_page_that_says_so(page_client: TestClient, content: bytes, status: int) -> None:
    refused = upload(page_client, content)

    assert refused.status_code == status
    assert refused.headers["content-type"].startswith("text/html")


def test_a_page_with_all_it_loads_is_light(page_client: TestClient) -> None:
    page = page_client.get("/?f=30&r30=9&f=19")
    covers = {url: page_client.get(url) for url in re.findall(r'src="(/covers/\d+\.svg)"', page.text)}

    assert len(covers) == 10
    weight = len(page.content) + sum(len(cover.content) for cover in covers.values())
    weight += sum(len(asset.content) for asset in ASSETS.values())
    assert weight <= 200_000
    for name in ASSETS:
        url = re.search(rf"/assets/[0-9a-f]+/{name}", page.text)
        if url:
            assert "immutable" in page_client.get(url[0]).headers["cache-control"]


def test_pages_need_no_key_and_give_none(offline_settings: Settings, source: FolderSource) -> None:
    keys = (SecretStr("very-secret-key"),)
    with open_client(offline_settings.model_copy(update={"api_keys": keys, "rate_limit": "8/day"}), source) as client:
        page = client.get("/?f=30", headers=HTML)
        assert page.status_code == 200
        assert "very-secret-key" not in page.text
        # Nobody is shown as another user, and the API stays shut.
        assert client.get("/?mode=user&user=7", headers=HTML).status_code == 403
        assert client.get("/search?q=a").status_code == 401
        statuses = [client.get("/?f=30", headers=HTML).status_code for _ in range(8)]
        assert statuses[-1] == 429


def test_pages_are_shown_unless_keys_guard_a_service_that_others_reach(tmp_path: Any) -> None:
    def shows(**values: Any) -> bool:
        return Settings(_env_file=None, home=tmp_path, **values).shows_pages  # type: ignore[call-arg]

    keys = {"api_keys": "a-key"}
    assert shows()
    assert shows(host="192.0.2.1")
    assert shows(**keys)
    assert not shows(host="192.0.2.1", **keys)
    assert shows(host="192.0.2.1", pages="on", **keys)
    assert not shows(pages="off")
