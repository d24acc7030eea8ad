"""The labelling page in a real Chromium: what a person sees, presses and types, and what the database holds afterwards."""

from __future__ import annotations

import dataclasses
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select

from tuningfork.data.judgements import Candidate
from tuningfork.feedback import export, schema
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, add_items
from tuningfork.feedback.project import ProjectSettings, write_project
from tuningfork.feedback.sampler import Drawn, Sampler
from tuningfork.feedback.security import add_annotator
from tuningfork.feedback.server import build_app, server_config
from tuningfork.feedback.service import Service
from tuningfork.feedback.serving import link_of, listen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; make setup installs it")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `make browser` installs it"),
]

GUIDELINES = """# What better means
Prefer the answer that **helps** the person who asked.

- True before pretty.
- A tie is a good answer where you cannot tell.

## An example
> *Green* is better than *Grass has many colours, such as green.*
"""
PLAIN = {"overlap_share": 0, "repeat_share": 0, "gold_share": 0, "guidelines": GUIDELINES}
EVENING = (
    "In the evening the sky turns orange and red. Sunlight then crosses a much thicker layer of air, which scatters the blue "
    "light away from our line of sight and lets the red through.",
    "In the evening the sky turns orange and red. Sunlight then crosses a thinner layer of air, and the clouds absorb the blue "
    "light, so that only the red is left over for us to see.",
)
QUESTIONS = (
    "What colour is the sky in the evening, and why?",
    "Name a fruit.",
    "Is glass a liquid?",
    "What is a fugue?",
)


def pairs(number: int = 4) -> list[NewItem]:
    texts = [EVENING, *((f"A good answer to {n}.", f"A bad answer to {n}.") for n in range(1, number))]
    return [
        NewItem(f"item {n}", f"root {n}", QUESTIONS[n % 4], [Candidate(text=text) for text in both])
        for n, both in enumerate(texts)
    ]


class PaperModel(Sampler):
    """Two replies to whatever is said."""

    def __init__(self) -> None:
        super().__init__([], [], [])

    def draw(self, rows: Sequence[Mapping[str, Any]]) -> list[Drawn]:
        said = rows[0]["messages"][-1]["content"]
        texts = (f"You said “{said}”. Tell me more about it.", "I do not know.")
        return [Drawn([1], [Candidate(text=text) for text in texts])]


@dataclass
class Site:
    """A page that is served from a thread of this process."""

    database: Database
    link: str
    server: uvicorn.Server
    service: Service

    def rows(self, table: Any) -> list[Any]:
        with self.database.read() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)).mappings())

    def judgements(self) -> list[Any]:
        return self.rows(schema.judgements)

    def exported(self) -> set[str]:
        """Whose judgements an export holds."""
        return {record.rater.id for record in export.judgements(self.database)}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    started: list[tuple[Site, threading.Thread]] = []

    def start(
        items: list[NewItem], *, role: str = "annotator", sampler: Sampler | None = None, **settings: Any
    ) -> Site:
        project = ProjectSettings.model_validate(PLAIN | settings)
        database = Database.open(tmp_path / "labels.db")
        write_project(database, project)
        add_items(database, items, project)
        add_annotator(database, "anna", "a-link-for-anna", role=role)
        listener = listen("127.0.0.1", 0)
        host, port = listener.getsockname()[:2]
        service = Service(database, project, sampler=sampler)
        server = uvicorn.Server(server_config(build_app(service), host, port))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        site = Site(database, link_of(f"http://{host}:{port}", "a-link-for-anna"), server, service)
        started.append((site, thread))
        return site

    yield start
    for site, thread in started:
        site.server.should_exit = True
        thread.join()
        site.database.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """`visit(site)` opens the link; a fault in the page's script, or anything against its policy, fails the test."""
    faults: list[str] = []
    contexts: list[Any] = []

    def go(site: Site, *, wait: str = ".card", tolerate: str = "none", **how: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | how))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if said.type == "error" and tolerate not in said.text else None,
        )
        page.goto(site.link)
        page.wait_for_selector(wait)
        assert "token" not in page.url
        return page

    yield go
    for context in contexts:
        context.close()
    assert not faults, faults


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder of TUNINGFORK_SCREENSHOTS, or one of pytest's."""
    folder = Path(os.environ.get("TUNINGFORK_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def question(page: Any) -> str:
    return page.inner_text(".prompt")


def press_and_wait(page: Any, key: str) -> None:
    """Press a key that brings another item, and wait for it."""
    page.evaluate("document.querySelector('.item, .notice').dataset.old = 'yes'")
    page.keyboard.press(key)
    page.wait_for_selector(".item:not([data-old]), .notice:not([data-old])")


def test_items_appear_while_answers_are_drawn(serve: Any, visit: Any) -> None:
    site = serve([], sampler=PaperModel())
    site.service.supply = SimpleNamespace(is_done=False, fault="")
    page = visit(site, wait=".notice")
    assert (
        "being drawn" in page.inner_text("main")
        and page.get_attribute('[data-mode="compare"]', "aria-pressed") == "true"
    )
    add_items(site.database, pairs(1), site.service.settings)
    page.wait_for_selector(".card")
    site.service.supply = SimpleNamespace(is_done=True, fault="the model is gone")
    page.keyboard.press("ArrowLeft")
    press_and_wait(page, "Enter")
    assert "thank you" in page.inner_text("main") and "the model is gone" in page.inner_text("#trouble")


def test_keyboard_alone_labels_ties_skips_flags_and_undoes(serve: Any, visit: Any, shots: Path) -> None:
    site = serve(pairs(8))
    page = visit(site)
    page.screenshot(path=shots / "compare.png")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    page.screenshot(path=shots / "chosen.png")
    press_and_wait(page, "Enter")
    page.keyboard.press("ArrowLeft")
    press_and_wait(page, "Enter")
    page.keyboard.press("ArrowDown")
    press_and_wait(page, "Enter")
    page.keyboard.press("x")
    press_and_wait(page, "Enter")
    right, left, tie, bad = site.judgements()
    assert right["ranking"] == [[right["shown"][1]], [right["shown"][0]]] and right["strength"] == 3
    assert left["ranking"] == [[left["shown"][0]], [left["shown"][1]]] and left["strength"] == 2
    assert tie["ranking"] == [[0, 1]] and not tie["all_bad"] and tie["strength"] == 0
    assert bad["ranking"] == [[0, 1]] and bad["all_bad"]
    assert all(judgement["seconds"] > 0 for judgement in (right, left, tie, bad))
    press_and_wait(page, "u")
    assert page.get_attribute('[data-choice="bad"]', "aria-pressed") == "true", "what was said is there again"
    assert len(site.rows(schema.withdrawals)) == 1
    page.keyboard.press("t")
    press_and_wait(page, "Enter")
    assert site.judgements()[-1]["ranking"] == [[0, 1]] and not site.judgements()[-1]["all_bad"]
    skipped = question(page)
    press_and_wait(page, "s")
    assert question(page) != skipped
    page.keyboard.press("f")
    page.screenshot(path=shots / "flag.png")
    page.keyboard.press("Tab")
    press_and_wait(page, "Enter")
    kinds = [event["kind"] for event in site.rows(schema.events)]
    assert kinds.count("skipped") == 1 and kinds.count("flagged") == 1
    page.keyboard.press("g")
    assert page.is_visible("#guidelines strong")
    page.screenshot(path=shots / "guidelines.png")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.screenshot(path=shots / "keys.png")
    page.keyboard.press("Escape")
    for _ in range(2):
        page.keyboard.press("b")
        press_and_wait(page, "Enter")
    assert "thank you" in page.inner_text("main")
    page.screenshot(path=shots / "done.png")
    press_and_wait(page, "u")
    assert page.is_visible(".card")


def test_tab_and_enter_reach_everything(serve: Any, visit: Any) -> None:
    site = serve(pairs(2), criteria=[{"name": "true"}])
    page = visit(site)
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.innerText || document.activeElement.value || ''").split("\n")[0]
        )
    wanted = (
        "A is better",
        "Tie",
        "Both bad",
        "B is better",
        "Undo",
        "Skip",
        "Flag",
        "Note",
        "Edit",
        "Differences",
        "Keys",
    )
    for name in wanted:
        assert any(text.strip().startswith(name) for text in seen), f"{name} cannot be reached by Tab: {seen}"
    page.focus('[data-choice="tie"]')
    page.keyboard.press("Enter")
    assert page.get_attribute('[data-choice="tie"]', "aria-pressed") == "true"
    press_and_wait(page, "Enter")
    assert site.judgements()[0]["ranking"] == [[0, 1]], "Enter on what is chosen already sends it"


def test_ratings_note_edit_and_differences(serve: Any, visit: Any, shots: Path) -> None:
    criteria = [{"name": "true", "meaning": "Is it so?"}, {"name": "kind", "highest": 3}]
    site = serve(pairs(1), criteria=criteria)
    page = visit(site)
    page.keyboard.press("d")
    marked = page.eval_on_selector_all("mark", "found => found.map(one => one.textContent)")
    assert {"thicker", "thinner"} <= {word for text in marked for word in text.split()}, marked
    assert "Sunlight" not in " ".join(marked)
    page.keyboard.press("d")
    assert page.query_selector("mark") is None
    page.keyboard.press("d")
    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")
    page.check('input[name="rating-1-0"][value="4"]', force=True)
    page.check('input[name="rating-1-1"][value="1"]', force=True)
    page.keyboard.press("n")
    page.keyboard.type("the second has it the wrong way round")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("e")
    assert page.input_value("#edit") == page.inner_text(".card:first-child .text")
    page.fill("#edit", "Air scatters blue light, and in the evening there is more of it in the way.")
    page.screenshot(path=shots / "ratings.png", full_page=True)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".notice")
    (judgement,) = site.judgements()
    by_place = [judgement["ratings"][number] for number in judgement["shown"]]
    assert by_place == [{"true": 2}, {"true": 4, "kind": 1}]
    assert judgement["note"].startswith("the second") and judgement["edit"].startswith("Air scatters")


def test_a_reload_in_the_middle_loses_nothing(serve: Any, visit: Any) -> None:
    site = serve(pairs(3))
    page = visit(site)
    before = [question(page), page.inner_text(".answers")]
    page.keyboard.press("n")
    page.keyboard.type("half a thought")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.reload()
    page.wait_for_selector(".card")
    assert [question(page), page.inner_text(".answers")] == before
    assert page.input_value("#note") == "half a thought" and page.query_selector(".card.chosen")
    press_and_wait(page, "Enter")
    assert page.input_value("#note") == "" and len(site.judgements()) == 1


def test_a_lost_answer_is_asked_for_again_also_after_a_reload(serve: Any, visit: Any) -> None:
    site = serve(pairs(3))
    page = visit(site, tolerate="ERR_FAILED")

    tries: list[str] = []

    def lose(route: Any) -> None:
        tries.append(route.request.post_data)
        if len(tries) == 1:
            route.fetch()  # the server has it, the page is never told
        if len(tries) <= 2:
            route.abort()
        else:
            route.continue_()

    page.route("**/api/judge", lose)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    _wait_until(lambda: len(site.judgements()) == 1)
    page.wait_for_selector("#trouble:not([hidden])")
    assert "kept here" in page.inner_text("#trouble")
    page.reload()
    page.wait_for_selector(".card")
    _wait_until(lambda: page.evaluate("Object.keys(localStorage).filter(key => key.includes('outbox')).length") == 0)
    assert len(tries) >= 3 and len(set(tries)) == 1, "the same words with the same id"
    assert len(site.judgements()) == 1
    _wait_until(lambda: page.inner_text("#progress").startswith("1 by you"))


def test_ranking_by_keyboard_by_buttons_and_by_drag(serve: Any, visit: Any, shots: Path) -> None:
    texts = (
        "Steam lifts, and the morning with it.",
        "Tea is a drink.",
        "Leaves in water, hot.",
        "A small warm pause in a cup.",
    )
    items = [
        NewItem(f"tea {n}", "tea", "Write one line about tea.", [Candidate(text=t) for t in texts]) for n in range(3)
    ]
    site = serve(items)
    page = visit(site)

    def order() -> list[str]:
        return page.eval_on_selector_all(".card .name", "found => found.map(one => one.textContent)")

    assert order() == ["A", "B", "C", "D"]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowDown")
    assert order() == ["B", "A", "C", "D"]
    page.keyboard.press("4")
    assert order() == ["B", "C", "D", "A"]
    page.keyboard.press("=")
    page.screenshot(path=shots / "rank.png")
    press_and_wait(page, "Enter")
    first = site.judgements()[0]
    assert first["ranking"] == [
        [first["shown"][1]],
        [first["shown"][2]],
        sorted([first["shown"][3], first["shown"][0]]),
    ]
    page.click('.card:nth-child(3) [aria-label="Move up C"]')
    page.click('.card:nth-child(2) [aria-label="Move up C"]')
    assert order() == ["C", "A", "B", "D"]
    press_and_wait(page, "Enter")
    second = site.judgements()[1]
    assert second["ranking"] == [[second["shown"][place]] for place in (2, 0, 1, 3)]
    handle = page.locator(".card:nth-child(4) .handle").bounding_box()
    top = page.locator(".card:nth-child(1)").bounding_box()
    page.mouse.move(handle["x"] + 8, handle["y"] + 8)
    page.mouse.down()
    page.mouse.move(handle["x"] + 8, top["y"] + 6, steps=24)
    page.mouse.up()
    assert order() == ["D", "A", "B", "C"]
    press_and_wait(page, "Enter")
    assert site.judgements()[2]["ranking"][0] == [site.judgements()[2]["shown"][3]]


def test_a_talk_with_two_replies_each_turn(serve: Any, visit: Any, shots: Path) -> None:
    site = serve([], sampler=PaperModel())
    page = visit(site, wait=".composer")
    page.fill("textarea", "I planted a lemon tree.")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    page.reload()
    page.wait_for_selector(".card")
    page.screenshot(path=shots / "talk.png")
    is_left = page.inner_text(".card:first-child .text").startswith("You said")
    page.keyboard.press("ArrowLeft" if is_left else "ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".composer textarea")
    assert page.inner_text(".turn.assistant .text") == "You said “I planted a lemon tree.”. Tell me more about it."
    page.fill("textarea", "It has three leaves.")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    assert len(page.query_selector_all(".turn")) == 3
    (judgement,) = site.judgements()
    assert judgement["purpose"] == "talk" and judgement["ranking"] == [[0], [1]]


def test_a_phone_in_the_dark(serve: Any, visit: Any, shots: Path) -> None:
    site = serve(pairs(3), criteria=[{"name": "true"}])
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
    page = visit(site, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "nothing sticks out to the side"
    page.screenshot(path=shots / "phone-dark.png")
    small = page.eval_on_selector_all(
        ".bar .choices button, .finish button",
        "found => found.filter(one => one.offsetHeight < 34).map(one => one.textContent)",
    )
    assert small == [], "large enough for a thumb"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in background[4:-1].split(",")[:3]) < 60
    page.tap('[data-choice="1"]')
    page.tap('[data-strength="1"]')
    page.tap(".finish .primary")
    _wait_until(lambda: len(site.judgements()) == 1)
    assert site.judgements()[0]["strength"] == 1
    page.tap("#theme")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert min(int(part) for part in background[4:-1].split(",")[:3]) > 200


def test_dark_and_contrast(serve: Any, visit: Any, shots: Path) -> None:
    site = serve(pairs(2))
    for scheme in ("light", "dark"):
        page = visit(site, color_scheme=scheme)
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(300)
        page.screenshot(path=shots / f"{scheme}.png")
        assert page.evaluate((Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")) >= 4.5, (
            f"texts in {scheme} are readable"
        )


def test_what_a_screen_reader_is_told(serve: Any, visit: Any) -> None:
    site = serve(pairs(3))
    page = visit(site)
    _wait_until(lambda: page.text_content("#live").startswith("Next:"))
    page.keyboard.press("ArrowRight")
    _wait_until(lambda: page.text_content("#live").startswith("B is better, clearly"))
    tree = page.locator("body").aria_snapshot()
    for part in ('region "Prompt"', 'region "Answer A"', 'region "Answer B"', 'group "Your choice"', "progressbar"):
        assert part in tree, tree
    unnamed = page.eval_on_selector_all(
        "button, input, textarea",
        "all => all.filter(one => !(one.innerText || one.ariaLabel || one.labels?.length)).map(one => one.outerHTML)",
    )
    assert unnamed == []
    assert page.evaluate("document.documentElement.lang") == "en"


def choose(page: Any, text: str) -> None:
    """Choose the answer that begins so, and send it."""
    page.keyboard.press("ArrowLeft" if text in page.inner_text(".card") else "ArrowRight")
    press_and_wait(page, "Enter")


def test_quality_is_seen_and_acted_on(serve: Any, visit: Any, shots: Path) -> None:
    site = serve(pairs(2)[1:], role="lead", raters=2)
    for name, answer in (("ben", "A bad answer"), ("cleo", "A good answer")):
        add_annotator(site.database, name, f"a-link-for-{name}", role="annotator")
        choose(visit(dataclasses.replace(site, link=site.link.replace("anna", name))), answer)
    page = visit(site, wait=".notice")
    page.goto(f"{page.url}quality")
    page.screenshot(path=shots / "quality.png", full_page=True)
    page.on("dialog", lambda dialog: dialog.accept("too fast"))
    page.click("button.exclude[data-annotator=ben]")
    page.wait_for_selector("button.exclude[data-annotator=ben][data-excluded='1']")
    assert site.exported() == {"cleo"} and "too fast" in page.inner_text("body")
    page.click("button.exclude[data-annotator=ben]")
    page.wait_for_selector("button.exclude[data-annotator=ben][data-excluded='0']")
    assert site.exported() == {"ben", "cleo"}
    page.click("button.adjudicate")
    page.wait_for_selector(".card")
    assert question(page) == QUESTIONS[1]
    choose(page, "A good answer")
    assert site.exported() == {"anna", "ben", "cleo"}


def test_hostile_texts_are_shown_and_do_nothing(serve: Any, visit: Any, shots: Path) -> None:
    nasty = (
        "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'> \u202eexe.txt\x1b[31m \u200b&lt;b&gt; "
        + "Z\u0335" * 5
    )
    long = "x" * 2_000_000
    items = [
        NewItem("nasty", "r", nasty, [Candidate(text=nasty + "1"), Candidate(text="javascript:alert(1)")]),
        NewItem("long", "r", "a long one", [Candidate(text=long), Candidate(text="short")], priority=-1),
    ]
    site = serve(
        items, title=nasty, guidelines=nasty, criteria=[{"name": "<b>true</b>", "meaning": nasty[:300]}], role="lead"
    )
    page = visit(site)
    assert "<script>window.hacked=1</script>" in question(page)
    assert page.eval_on_selector_all(".prompt .ctl", "all => all.map(one => one.textContent)") == [
        "U+202E",
        "\\x1b",
        "U+200B",
    ]
    assert page.query_selector("main script, main img, main b") is None
    page.keyboard.press("d")
    page.keyboard.press("g")
    page.keyboard.press("Escape")
    page.screenshot(path=shots / "hostile.png")
    page.keyboard.press("n")
    page.keyboard.type("<script>window.hacked=1</script>")
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    press_and_wait(page, "Enter")
    assert "1,980,000 more characters" in page.inner_text(".more:not([hidden])")
    page.click(".more:not([hidden])")
    _wait_until(lambda: page.inner_text(".more:not([hidden])").startswith("1,960,000"))
    page.click("#show-lead")
    page.wait_for_selector("#lead table")
    page.screenshot(path=shots / "project.png")
    assert page.evaluate("window.hacked") is None


def test_a_stranger_is_shown_the_door(serve: Any, browser: Any) -> None:
    site = serve(pairs(1))
    page = browser.new_page()
    page.goto(site.link.split("?")[0])
    page.wait_for_selector(".notice")
    assert "Open the link" in page.inner_text("main")
    page.close()


def _wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.05)
