"""The page of the demo in a real Chromium, with tiny models; one of them writes markup."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from stages.lib.core.paths import EVAL_PROBLEMS, MODELS
from stages.lib.core.schema import Problem
from stages.lib.core.tables import write_parquet
from tests.conftest import REPOSITORY, TAUGHT
from tests.small import make_small, set_params
from tests.stages.conftest import Change
from tools.demo import __main__ as demo
from tools.demo.problems import QUESTION

PATIENCE_MS = 240_000
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.xdist_group("demo")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: `apt install chromium`")

KNOWN = Problem("p", "s", "What is <b>2</b> + 2?", "4", "number", [], "", "", None, "t", "t")
LONG = 50_000  # tokens: more than anyone waits for

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, taught: Path, tiny_base: Path) -> Path:
    """Return a folder with small parameters, three models and a problem."""
    made = tmp_path_factory.mktemp("demo")
    shutil.copy(REPOSITORY / "params.yaml", made)
    make_small(made)
    limits = {"port": 0, "queue": 1, "max_tokens": LONG, "max_characters": 200}
    set_params(made, {f"demo.{name}": value for name, value in limits.items()})
    set_params(made, {"engine.max_model_len": 2 * LONG})
    for name, source in (("base", taught), ("adaptive", tiny_base), ("gone", tiny_base)):
        shutil.copytree(source, made / MODELS / name)
    write_parquet(made / EVAL_PROBLEMS / "ladder.parquet", [KNOWN])
    return made


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Serve the page; return its address."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    said = running.stderr.readline()
    assert said.startswith("demo: http://127.0.0.1:"), said
    yield said.split()[1]
    running.send_signal(signal.SIGINT)
    _, last = running.communicate(timeout=60)
    assert (last, running.returncode) == ("demo: ended\n", 0)


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Chromium, without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """Return what opens the page as a new user, and checks whom it asked for what."""
    asked: list[str] = []
    contexts = []

    def opened(**options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        expect(page.get_by_label("Question")).to_be_focused()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert asked
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def shown(page: Page, place: str, part: str) -> Any:
    """Return what can be expected of a part of the first or second answer."""
    return expect(page.locator(f"#{place}-answer [data-part={part}]"))


def ask(page: Page, question: str) -> None:
    page.get_by_label("Question").fill(question)
    page.keyboard.press("Enter")


def wait_for_the_end(page: Page) -> None:
    for place in ("first", "second"):
        shown(page, place, "state").to_have_text("Done")


def hacked(page: Page) -> bool:
    return page.evaluate("'hacked' in window || document.querySelector('#sides img') !== null")


@in_browser
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_both_answers_appear_as_text(
    open_page: Open, folder: Path, width: int, scheme: str
) -> None:
    page = open_page(viewport={"width": width, "height": 740}, color_scheme=scheme)
    page.get_by_label("Second model").select_option("base")
    page.get_by_label("Example problems").select_option(QUESTION)
    expect(page.get_by_label("Question")).to_have_value(QUESTION)
    page.get_by_label("Question").press("Enter")
    wait_for_the_end(page)
    size = (folder / MODELS / "base" / "model.safetensors").stat().st_size
    for place in ("first", "second"):
        shown(page, place, "model").to_have_text("base")
        shown(page, place, "text").to_have_text(TAUGHT["cot"])
        shown(page, place, "verdict").to_have_text("Right: 6303")
        shown(page, place, "first_token").to_have_text(re.compile(r"[\d.]+ s"))
        shown(page, place, "rate").to_have_text(re.compile(r"[\d.]+ tokens/s"))
        shown(page, place, "tokens").to_have_text(str(len(TAUGHT["cot"]) + 1))
        shown(page, place, "size").to_have_text(f"{size / 1e6:.1f} MB")
    assert not hacked(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("body.dark").count() == (scheme == "dark")


@in_browser
def test_the_keyboard_is_enough_and_a_program_is_run(open_page: Open) -> None:
    page = open_page()
    for key in ["Shift+Tab", "Shift+Tab", "a", "Shift+Tab", "b"]:
        page.keyboard.press(key)
    expect(page.get_by_label("The answer is")).to_have_value("pot")
    expect(page.get_by_label("Second model")).to_be_focused()
    expect(page.get_by_label("Second model")).to_have_value("base")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_label("Question")).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    wait_for_the_end(page)
    for place in ("first", "second"):
        shown(page, place, "program").to_have_text(re.compile(r"print\(125 \* 45 \+ 678\)$"))
        shown(page, place, "text").to_be_hidden()
        shown(page, place, "output").to_have_text("<img src=x onerror=hacked=1>\n6303")
        shown(page, place, "verdict").to_have_text("Right: 6303")
    assert not hacked(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Ask")).to_be_focused()


@in_browser
def test_what_cannot_be_asked_is_said(open_page: Open, folder: Path) -> None:
    page = open_page()
    expect(page.get_by_label("First model").locator("option")).to_have_count(3)
    notice = page.locator("#notice")
    ask(page, "")
    expect(notice).to_have_text("Write a question first.")
    ask(page, "x" * 201)
    expect(notice).to_have_text("The question has 201 characters; at most 200 are possible.")
    shutil.rmtree(folder / MODELS / "gone")
    page.get_by_label("First model").select_option("gone")
    page.get_by_label("Second model").select_option("base")
    ask(page, QUESTION)
    shown(page, "second", "state").to_have_text("Done")
    shown(page, "first", "problem").to_have_text(
        "There is no model data/models/gone: `make repro` makes the default ones."
    )
    expect(notice).to_be_hidden()
    page.reload()
    expect(page.get_by_label("First model").locator("option")).to_have_count(2)


@in_browser
def test_two_ask_at_once_and_a_third_is_told_to_wait(open_page: Open) -> None:
    first, second, third = (open_page() for _ in range(3))
    ask(first, "Write for ever.")
    shown(first, "second", "state").to_have_text("Writing")
    second.get_by_label("Second model").select_option("base")
    ask(second, QUESTION)
    shown(second, "first", "state").to_have_text("Waiting")
    expect(second.get_by_text("queue: 1/1").first).to_be_attached()
    ask(third, QUESTION)
    expect(third.locator("#notice")).to_contain_text("Too many questions are waiting")
    first.keyboard.press("Escape")
    shown(first, "second", "state").to_have_text("Stopped")
    wait_for_the_end(second)
    shown(second, "first", "verdict").to_have_text("Right: 6303")
    shown(first, "second", "state").to_have_text("Stopped")
    expect(first.locator("#notice")).to_be_hidden()


def test_without_a_model_there_is_one_line(change: Change) -> None:
    change({})
    with pytest.raises(ValueError) as error:
        demo.main()
    assert str(error.value) == "data/models: no model there: `make repro` makes the default ones"
