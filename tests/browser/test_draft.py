"""A person's first minute: an example, GM's draft, IM's revision, its marks; stopping; hostile text."""

import os
import time

import pytest

from llumi_jax.inference.events import Began, Ended, Reply, Said, Triaged
from llumi_jax.safety.banner import TEXT as BANNER

DRAFT = (
    "I am sorry that the search goes on so long. You should tell your parents. Three months of pretending is tiring."
)
REVISION = (
    "I am sorry that the search goes on so long. You could tell your parents when it feels right. Three months of "
    "pretending is tiring.\n\nWhat would make tomorrow a little easier?"
)
HOSTILE = (
    "<img src=x onerror=\"document.title='owned'\"> **bold** <b>x</b> ${1+1} {{7*7}} $x^2$ \u202eRTL [a](http://a.b)"
)


class Scripted:
    """A cascade that says what a test tells it to."""

    banner = BANNER
    writers: dict = {}

    def __init__(self, gm, im, pause=0.0):
        self.texts, self.pause, self.closed = {"gm": gm, "im": im}, pause, False

    def stream(self, post, sampling, seed=0, mode="cascade"):
        try:
            yield Triaged(())
            for role in ("gm", "im") if mode == "cascade" else ("im",):
                yield Began(role)
                for word in self.texts[role].split(" "):
                    time.sleep(self.pause)
                    yield Said(role, word + " ")
                yield Ended(Reply(role, self.texts[role], "stop", 1))
        finally:
            self.closed = True


def status(page):
    return page.input_value("#status textarea")


def wait_for_status(page, text):
    page.wait_for_function("text => document.querySelector('#status textarea').value.includes(text)", arg=text)


def choose(page, example):
    page.get_by_role("button", name=example).click()
    page.wait_for_function("document.querySelector('#body textarea').value.length > 20")


def shot(page, name):
    """Keeps a picture where SCREENSHOTS says so."""
    if folder := os.environ.get("SCREENSHOTS"):
        os.makedirs(folder, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_post_gm_im_with_a_real_model(open_page, demo_url):
    page = open_page(demo_url)
    assert page.get_by_text(BANNER).is_visible()
    choose(page, "A lost job")
    page.click("#settings button")
    length = page.locator("#settings input[type=number]").nth(1)
    length.fill("40")
    length.press("Tab")
    page.click("#write")
    page.wait_for_function("document.querySelector('#stop').disabled === false")
    page.wait_for_function("/Cut off|Done/.test(document.querySelector('#status textarea').value)")
    for role in ("#gm", "#im"):
        text = page.inner_text(f"{role} .textfield")
        assert text.strip() and "appears here" not in text
    assert page.is_disabled("#stop") and page.is_enabled("#write")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("light", {"viewport": {"width": 1320, "height": 900}, "color_scheme": "light"}),
        ("dark", {"viewport": {"width": 1320, "height": 900}, "color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 2}),
    ],
)
def test_differences_are_marked(open_page, serve, name, settings):
    page = open_page(serve(Scripted(DRAFT, REVISION)), **settings)
    shot(page, f"{name}-start")
    choose(page, "A lost job")
    page.click("#write")
    wait_for_status(page, "Done")
    # innerText leaves out nothing here: marks are spans of plain text.
    marked = page.inner_text("#im .textfield")
    assert "should" in marked and "could" in marked
    decoration = "e => getComputedStyle(e).textDecorationLine"
    assert page.locator("#im .text", has_text="should").first.evaluate(decoration) == "line-through"
    assert page.locator("#im .text", has_text="could").first.evaluate(decoration) == "underline"
    assert "kept" in page.input_value("#kept input")
    shot(page, f"{name}-done")
    page.get_by_label("Mark what IM changed").uncheck()
    page.wait_for_function("!document.querySelector('#im .textfield').innerText.includes('should')")
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1], "the page scrolls sideways"


def test_own_draft_is_improved(open_page, serve):
    page = open_page(serve(Scripted("", REVISION)))
    choose(page, "Improve a draft")
    page.wait_for_selector("#improve", state="visible")
    page.click("#improve")
    wait_for_status(page, "Done")
    assert "Everyone goes through this" in page.inner_text("#gm .textfield")
    assert "Your draft" in page.inner_text("#gm")


def test_stop_keeps_what_was_written(open_page, serve):
    cascade = Scripted(DRAFT * 20, REVISION, pause=0.05)
    page = open_page(serve(cascade))
    choose(page, "A lost job")
    page.click("#write")
    page.wait_for_function("document.querySelector('#gm .textfield').innerText.includes('sorry')")
    page.click("#stop")
    wait_for_status(page, "Stopped")
    assert "sorry" in page.inner_text("#gm .textfield") and page.is_enabled("#write")
    assert cascade.closed


def test_closing_the_page_stops_the_writing(open_page, serve):
    cascade = Scripted(DRAFT * 200, REVISION, pause=0.02)
    page = open_page(serve(cascade))
    choose(page, "A lost job")
    page.click("#write")
    page.wait_for_function("document.querySelector('#gm .textfield').innerText.includes('sorry')")
    page.close()
    deadline = time.monotonic() + 20
    while not cascade.closed and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cascade.closed


def test_an_empty_page_says_what_to_do(open_page, serve):
    page = open_page(serve(Scripted(DRAFT, REVISION)))
    page.click("#write")
    wait_for_status(page, "no post yet")


def test_hostile_text_is_shown_as_text(open_page, serve):
    page = open_page(serve(Scripted(HOSTILE, HOSTILE)))
    page.fill("#title input, #title textarea", HOSTILE)
    page.fill("#body textarea", HOSTILE)
    page.click("#write")
    wait_for_status(page, "Done")
    assert page.inner_text("#gm .textfield").strip() == HOSTILE
    assert page.locator("#gm img, #gm b, #gm a, #im img, #im b, #im a").count() == 0
    assert page.title() != "owned"


def test_nothing_but_the_page_can_be_read(open_page, serve):
    import urllib.error
    import urllib.request

    url = serve(Scripted(DRAFT, REVISION))
    answer = urllib.request.urlopen(url)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    body = answer.read().decode()
    assert "fonts.googleapis.com" not in body and "cdnjs" not in body
    for path in (
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=demo/app.py",
        "file=/etc/passwd",
        "docs",
        "openapi.json",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + path)
        assert refused.value.code in (401, 403, 404)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "elsewhere.example"}))
    assert refused.value.code == 400
