"""The pages in a real browser: mouse, keyboard alone, a narrow screen, without JavaScript, and what goes wrong."""

import gzip
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import insert

from recsys.connections import open_engine
from recsys.storage.tables import approval_requests, decisions
from tests.app.harness import wait_for
from tests.app.pages.conftest import KEY, OpenPage, Site
from tests.app.pages.decisions import decide
from tests.list_files import build_mal_entry, build_mal_xml

pytestmark = [pytest.mark.local, pytest.mark.slow]
EVIL = '</p><script>window.hurt = 1</script><img src=x onerror="window.hurt = 1">'
LIST = build_mal_xml(
    build_mal_entry(1, "Cowboy Bebop", 9, "Completed"),
    build_mal_entry(30, "Neon Genesis Evangelion", 8, "Completed"),
    build_mal_entry(999_999_999, EVIL, 7, "Completed"),
)
LIKED = "/?f=30&r30=9&f=19"


def find_violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']][:3]}" for rule in found]


def count_cards(page: Page) -> int:
    return page.locator(".cards > li .card").count()


def test_a_visitor_with_a_mouse_picks_favourites_and_speaks_up_on_a_card(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("A title you love").press_sequentially("monst")
    page.get_by_role("option", name=re.compile("Monster")).click()
    expect(page.locator(".picked")).to_contain_text("Monster")
    expect(page).to_have_url(re.compile(r"\?f=19$"))
    expect(page.locator(".card")).to_have_count(10)
    page.get_by_label("Your rating of Monster").select_option("8")
    expect(page).to_have_url(re.compile(r"\?f=19&r19=8$"))
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")

    first = page.locator(".card h3").first.inner_text()
    page.get_by_role("button", name=f"Not interested in {first}").click()
    expect(page.locator("#status")).to_have_text(f"{first} will not come again; the list is new.")
    expect(page.locator(".card h3").first).not_to_have_text(first)
    expect(page.locator(".card h3 a").first).to_be_focused()
    assert "hide=" in page.url
    page.go_back()
    expect(page.locator(".card h3").first).to_have_text(first)


def test_a_visitor_with_the_keyboard_alone_gets_and_changes_a_list(open_page: OpenPage) -> None:
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    field = page.get_by_label("A title you love")
    for _ in range(20):
        page.keyboard.press("Tab")
        if field.evaluate("field => field === document.activeElement"):
            break
    page.keyboard.type("cowboy")
    expect(page.locator(".combo [role=option]").first).to_be_visible()
    assert field.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    chosen = field.get_attribute("aria-activedescendant")
    assert page.locator(f"#{chosen}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Escape")
    expect(page.locator(".combo [role=option]")).to_have_count(0)
    page.keyboard.type(" beb")
    expect(page.locator(".combo [role=option]").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(10)
    button = page.locator(".card").nth(2).get_by_role("button", name="Plan")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("is planned; the list is new.")
    expect(page.locator(".card h3 a").nth(2)).to_be_focused()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        LIKED,
        "/?mode=taste&g=Action",
        "/?mode=together&person=Monster&person=Trigun",
        "/titles/1" + LIKED[1:],
        "/nothing",
    ],
)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_no_page_breaks_a_rule_of_accessibility_or_runs_off_a_narrow_screen(
    open_page: OpenPage, path: str, scheme: str
) -> None:
    page = open_page(path, width=360, scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert find_violations(page) == []


def test_without_javascript_everything_is_there(open_page: OpenPage) -> None:
    # Chromium draws no frames for an animation that no script waits for, which Playwright does before it clicks.
    page = open_page(java_script_enabled=False, reduced_motion="reduce")
    page.get_by_label("A title you love").fill("cowboy bebpo")
    page.get_by_role("button", name="Show my ten titles").click()
    expect(page.locator("#status")).to_contain_text("was read as Cowboy Bebop")
    assert count_cards(page) == 10

    first = page.locator(".card").first
    title = first.locator("h3").inner_text()
    first.get_by_role("combobox").select_option("9")
    first.get_by_role("button", name="Seen it").click()
    expect(page.locator("#status")).to_contain_text("is rated 9")
    expect(page.locator(".picked")).to_contain_text(title)
    page.get_by_text("Tune the list").click()
    expect(page.get_by_label("Length")).to_be_visible()
    page.get_by_label("Length").select_option("20")
    page.locator(".controls").get_by_role("button", name="Apply").click()
    expect(page.locator(".card")).to_have_count(20)

    page = open_page("/?mode=list", java_script_enabled=False, reduced_motion="reduce")
    page.get_by_label("Your list, as a file").set_input_files(
        {"name": "list.xml", "mimeType": "text/xml", "buffer": LIST.encode()}
    )
    page.get_by_role("button", name="Look into my list").click()
    page.get_by_role("button", name="Recommend from this list").click()
    expect(page.locator(".card")).to_have_count(10)


def test_a_title_that_nobody_knows_is_told_with_what_may_be_meant(open_page: OpenPage) -> None:
    page = open_page("/?f=30")
    page.get_by_label("A title you love").fill("Naruto season 7")
    page.get_by_label("A title you love").press("Enter")

    expect(page.get_by_role("alert")).to_contain_text("No title matches “Naruto season 7”.")
    page.get_by_role("alert").get_by_role("link", name="Naruto", exact=True).click()
    expect(page.locator(".picked")).to_contain_text("Naruto")


def test_a_list_is_shown_used_and_stored_only_on_request(open_page: OpenPage) -> None:
    page = open_page("/?mode=list")
    page.get_by_label("Your list, as a file").set_input_files(
        {"name": "list.xml", "mimeType": "text/xml", "buffer": LIST.encode()}
    )
    page.get_by_role("button", name="Look into my list").click()
    expect(page.get_by_role("heading", name="What your list holds")).to_be_visible()
    expect(page.get_by_text("window.hurt")).to_be_visible()  # as text
    assert page.evaluate("window.hurt") is None
    assert find_violations(page) == []
    page.get_by_role("button", name="Store it and give me an id").click()
    expect(page.locator("#status")).to_contain_text("Your list is stored; your id is ")
    expect(page.locator(".card")).to_have_count(10)

    title = page.locator(".card h3").first.inner_text()
    page.locator(".card").first.get_by_role("combobox").select_option("7")
    page.locator(".card").first.get_by_role("button", name="Seen it").click()
    expect(page.locator("#status")).to_contain_text(f"{title} is rated 7")
    expect(page.locator(".knows")).to_contain_text(title)
    # Another browser is not shown as this user.
    other = open_page(page.url.removeprefix(page.evaluate("location.origin")))
    expect(other.get_by_role("alert")).to_contain_text("was not registered in this browser")


def test_hostile_files_end_with_a_page_in_words(open_page: OpenPage) -> None:
    page = open_page("/?mode=list")
    files = {
        "entities": b'<!DOCTYPE x [<!ENTITY a "b">]><myanimelist>&a;</myanimelist>',
        "wrong encoding": b"\xff\xfe\xfa<myanimelist",
    }
    for name, content in files.items():
        page.get_by_label("Your list, as a file").set_input_files(
            {"name": f"{name}.xml", "mimeType": "text/xml", "buffer": content}
        )
        page.get_by_role("button", name="Look into my list").click()
        expect(page.get_by_role("link", name="Back to the list")).to_be_visible()
        page.goto(page.evaluate("location.origin") + "/?mode=list")


def test_a_file_that_is_too_large_ends_with_a_page_in_words(open_page: OpenPage, tmp_path: Path) -> None:
    large, bomb = tmp_path / "large.xml", tmp_path / "bomb.xml.gz"
    with large.open("wb") as file:
        file.truncate(50 << 20)
    with gzip.open(bomb, "wb") as file:
        for _ in range(50):
            file.write(bytes(1 << 20))
    for path, heading in ((large, "Too large"), (bomb, "Not quite")):
        page = open_page("/?mode=list")
        page.get_by_label("Your list, as a file").set_input_files(path)
        page.get_by_role("button", name="Look into my list").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        expect(page.get_by_role("link", name="Back to the list")).to_be_visible()


def test_titles_and_synopses_of_a_catalog_are_text(open_page: OpenPage, site: Site) -> None:
    columns = site.app.state.service.production.current.item_views.columns
    before = {name: list(columns[name]) for name in ("title", "synopsis")}
    for name, values in before.items():
        columns[name][:] = [f"{value} {EVIL}" for value in values]
    try:
        for path in ("/?f=30&k=20", "/titles/1", "/?mode=like&like=Monster"):
            page = open_page(path)
            expect(page.get_by_text("window.hurt").first).to_be_visible()
            assert page.evaluate("window.hurt") is None
            assert page.locator("main script, main img[onerror]").count() == 0
        page = open_page("/")
        page.get_by_label("A title you love").press_sequentially("monst")
        expect(page.locator(".combo [role=option]").first).to_contain_text("window.hurt")
        assert page.evaluate("window.hurt") is None
    finally:
        for name, values in before.items():
            columns[name][:] = values
        site.app.state.service.cache._entries.clear()


def test_a_swap_of_the_model_in_the_middle_is_not_noticed(open_page: OpenPage, site: Site) -> None:
    page = open_page(LIKED)
    expect(page.locator(".answer")).to_contain_text("Model version 1")
    site.source.production = 2
    try:
        wait_for_version(site, 2)
        page.locator(".card").first.get_by_role("button", name="Not interested").click()
        expect(page.locator("#status")).to_contain_text("the list is new.")
        expect(page.locator(".answer")).to_contain_text("Model version 2")
        expect(page.locator(".card")).to_have_count(10)
    finally:
        site.source.production = 1
        wait_for_version(site, 1)


def wait_for_version(site: Site, version: int) -> None:
    wait_for(lambda: site.app.state.service.production.current.version == version)


def test_without_a_database_the_rest_works_and_it_is_said(open_page: OpenPage, site_without_database: Site) -> None:
    page = open_page("/?mode=user", at=site_without_database)
    page.get_by_label("Your user id").fill("7")
    page.get_by_role("button", name="Show my list").click()
    expect(page.get_by_role("alert")).to_contain_text("The user database does not answer.")
    page.get_by_role("link", name="By taste").click()
    page.get_by_role("checkbox", name="Romance").first.check()
    page.get_by_role("button", name="Show my ten titles").click()
    expect(page.locator(".card")).to_have_count(10)


def test_offline_the_list_stays_and_it_is_said(open_page: OpenPage) -> None:
    page = open_page(LIKED)
    expect(page.locator(".card")).to_have_count(10)
    page.context.set_offline(True)
    page.locator(".card").first.get_by_role("button", name="Plan").click()

    expect(page.locator("#status")).to_have_text("You are offline; this is the list you had before.")
    assert count_cards(page) == 10


def test_the_look_is_remembered(open_page: OpenPage) -> None:
    page = open_page("/titles/440")
    page.locator("select[name=language]").select_option("english")
    page.get_by_label("Look").select_option("light")
    page.get_by_role("button", name="Apply").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Revolutionary Girl Utena")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(250, 247, 255)"


@pytest.fixture(scope="module")
def decided(site: Site) -> None:
    """A promotion in the ledger of the site, and one that waits for approval."""
    settings = site.settings
    decision = decide(0.0).to_dict()
    common = {"model_name": settings.model_name, "challenger_version": 2, "champion_version": 1}
    with open_engine(settings) as engine, engine.begin() as connection:
        evidence = {"run_key": "week-1", "action": "promote", "actor": "gate", "reason": "better", "evidence": decision}
        connection.execute(insert(decisions).values({**common, **evidence}))
        body = "**equal**\n\n# Slices\n\n| slice | users |\n|---|---|\n| " + "long " * 60 + "| 12 |\n"
        connection.execute(
            insert(approval_requests).values({**common, "run_key": "week-2", "decision": decision, "body": body})
        )


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_an_operator_logs_in_looks_and_compares(open_page: OpenPage, scheme: str) -> None:
    page = open_page("/ops", scheme=scheme)
    assert find_violations(page) == []
    page.get_by_label("A key with the scope admin").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Needs a look|Degraded|Healthy"))
    expect(page.get_by_role("heading", name="Waiting for approval")).to_be_visible()
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert find_violations(page) == []
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("link", name="The whole decision").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Promoted: version 2 against 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert find_violations(page) == []
    page.get_by_role("link", name="← Operations").click()
    page.get_by_role("link", name="Compare two versions or algorithms").click()
    page.get_by_label("User id, or titles").fill("7")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".sides ol")).to_have_count(2)
    assert find_violations(page) == []
    page.get_by_role("link", name="← Operations").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("A key with the scope admin")).to_be_visible()
