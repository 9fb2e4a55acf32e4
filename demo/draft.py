"""The Draft tab: a post goes in, GM's draft streams in, IM's revision streams after it, its changes marked."""

import contextlib
import logging
import secrets
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo import words
from demo.conversation import Stops, View, views
from demo.differences import differences, share_kept
from demo.look import DIFFERENCE_COLORS
from llumi_jax.inference.cascade import Cascade
from llumi_jax.inference.sampling import Sampling
from llumi_jax.inference.writers import Post

MAX_CHARACTERS = 12_000
_HINT = "hint"
_LEAST_KEPT = 0.2
_log = logging.getLogger("demo")


def build(cascade: Cascade, stops: Stops) -> None:
    """Lays out the tab inside the current Blocks and wires its events."""
    with gr.Row(equal_height=False, elem_classes="workspace"):
        with gr.Column(scale=5, min_width=320, elem_classes="sheet"):
            title, body, draft, settings, buttons = _form()
        with gr.Column(scale=6, min_width=320, elem_classes="sheet replies"):
            outputs = _replies()
    _wire(cascade, stops, [title, body, draft, *settings], buttons, outputs)


def _form() -> tuple[Any, Any, Any, list, dict[str, gr.Button]]:
    gr.Markdown("## The post")
    title = gr.Textbox(label="Title", placeholder="Optional", max_lines=1, max_length=300, elem_id="title")
    body = gr.Textbox(
        label="Post", placeholder="What did the person write?", lines=7, max_lines=16, max_length=MAX_CHARACTERS,
        elem_id="body",
    )  # fmt: skip
    with gr.Row(elem_classes="buttons"):
        write = gr.Button("Draft a reply", variant="primary", elem_id="write")
        stop = gr.Button("Stop", variant="stop", elem_id="stop", interactive=False)
    gr.Markdown("Or begin with an example:", elem_id="or")
    with gr.Row(elem_classes="chips"):
        examples = [gr.Button(name, size="sm", variant="secondary") for name in words.EXAMPLES]
    with gr.Accordion("I have a draft of my own", open=False, elem_id="own") as own:
        draft = gr.Textbox(
            label="Your draft", placeholder="Your words. IM keeps what you say.", lines=4, max_lines=12,
            max_length=MAX_CHARACTERS, elem_id="draft",
        )  # fmt: skip
        improve = gr.Button("Improve my draft", variant="primary", elem_id="improve")
    with gr.Accordion("How it writes", open=False, elem_id="settings"):
        temperature = gr.Slider(0, 1.5, 0.7, step=0.1, label="Variety", info="0 always writes the likeliest words")
        length = gr.Slider(32, 512, 200, step=8, label="Longest reply", info="In tokens; a token is about ¾ of a word")
    for button, example in zip(examples, words.EXAMPLES.values(), strict=True):
        button.click(
            lambda example=example: (*example, gr.Accordion(open=bool(example[2]))),
            None,
            [title, body, draft, own],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    return title, body, draft, [temperature, length], {"write": write, "improve": improve, "stop": stop}


def _replies() -> list:
    """Status, draft, revision, marks and the texts that the marks are made of."""
    gr.Markdown("## The reply")
    status = gr.Textbox(
        value=words.READY,
        label="Status",
        show_label=False,
        container=False,
        interactive=False,
        lines=1,
        max_lines=3,
        elem_id="status",
    )
    first = gr.HighlightedText(
        _hint(words.HINT_GM), label="GM’s draft", show_inline_category=False, color_map=DIFFERENCE_COLORS,
        elem_id="gm", elem_classes="paper",
    )  # fmt: skip
    second = gr.HighlightedText(
        _hint(words.HINT_IM), label="IM’s revision", show_inline_category=False, color_map=DIFFERENCE_COLORS,
        elem_id="im", elem_classes="paper",
    )  # fmt: skip
    with gr.Row(elem_classes="marks"):
        marks = gr.Checkbox(True, label="Mark what IM changed", elem_id="marks", container=False)
        kept = gr.Textbox(
            "", label="Kept", show_label=False, container=False, interactive=False, max_lines=1, elem_id="kept"
        )
    return [status, first, second, marks, kept, gr.State(("", ""))]


def _wire(cascade: Cascade, stops: Stops, inputs: list, buttons: dict[str, gr.Button], outputs: list) -> None:
    status, first, second, marks, kept, texts = outputs
    controls = [buttons["write"], buttons["improve"], buttons["stop"]]
    shown = [status, first, second, kept, texts, *controls]

    def run(mode: str):
        def handler(title, body, draft, temperature, length, marked, request: gr.Request) -> Iterator[tuple]:
            flag = stops.begin(request.session_hash)
            problem = _missing(mode, title, body, draft)
            if problem:
                yield (problem, *(gr.skip() for _ in shown[1:]))
                return
            sampling = Sampling(temperature=temperature, max_tokens=int(length))
            post = Post(secrets.token_hex(8), title or "", body or "", draft or "")
            events = cascade.stream(post, sampling, secrets.randbits(32), mode)
            with contextlib.closing(events):
                try:
                    for view in views(events, post.draft if mode == "im" else "", flag):
                        yield _render(view, mode, marked)
                except Exception:
                    # Without the trace's local variables: nothing that was typed may reach a log.
                    _log.exception("writing failed")
                    yield (words.FAILED, *(gr.skip() for _ in shown[1:-3]), *_controls(writing=False))

        return handler

    for name, mode in (("write", "cascade"), ("improve", "im")):
        buttons[name].click(
            run(mode), [*inputs, marks], shown, show_progress="hidden", api_visibility="private", concurrency_id="write"
        )

    def stop(request: gr.Request) -> None:
        stops.stop(request.session_hash)

    buttons["stop"].click(stop, None, None, queue=False, api_visibility="private")
    marks.change(
        lambda marked, pair: _marked(pair[0], pair[1], marked) if pair[1] else gr.skip(),
        [marks, texts],
        second,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _missing(mode: str, title: str, body: str, draft: str) -> str | None:
    if not (title or "").strip() and not (body or "").strip():
        return words.EMPTY_POST
    if mode == "im" and not (draft or "").strip():
        return words.EMPTY_DRAFT
    return None


def _render(view: View, mode: str, marked: bool) -> tuple:
    """What each component shows at this moment."""
    label = "Your draft" if mode == "im" else "GM’s draft"
    draft = [(view.draft, None)] if view.draft else _hint(words.HINT_OWN if mode == "im" else "…")
    whole = view.finished and view.draft and view.revision
    if whole:
        revision = _marked(view.draft, view.revision, marked)
    else:
        revision = [(view.revision, None)] if view.revision else _hint(words.HINT_IM if view.finished else "…")
    kept = _kept(share_kept(view.draft, view.revision)) if whole else ""
    texts = (view.draft, view.revision) if whole else ("", "")
    shown_draft = gr.HighlightedText(draft, label=label)
    return view.status, shown_draft, revision, kept, texts, *_controls(writing=not view.finished)


def _controls(writing: bool) -> tuple:
    return gr.Button(interactive=not writing), gr.Button(interactive=not writing), gr.Button(interactive=writing)


def _kept(share: float) -> str:
    if share < _LEAST_KEPT:
        return "IM wrote almost all of it anew"
    return f"{share:.0%} of the draft’s words kept"


def _marked(draft: str, revision: str, marked: bool) -> list[tuple[str, str | None]]:
    """The revision with its changes marked; where next to nothing was kept, marks would only hide the new text."""
    readable = marked and share_kept(draft, revision) >= _LEAST_KEPT
    return differences(draft, revision) if readable else [(revision, None)]


def _hint(text: str) -> list[tuple[str, str | None]]:
    return [(text, _HINT)]
