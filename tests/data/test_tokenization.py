"""The token cache: a hit equals a fresh run, and anything that shapes the tokens changes its name."""

import copy
import dataclasses

import pytest

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.data.dataset import Pair, Thread
from llumi_jax.data.tokenization import TokenThread, tokenize

LIMIT = 900


def some_threads() -> list[Thread]:
    return [
        Thread("a", "c", "Title", "A body.", "", ["One.", "Two, longer."], [0.0, 0.0], [Pair("p", 1, 0, 0.7, 1.5)]),
        Thread("b", "d", "Übung", "Grüße, 你好 …", "", ["Three.", "4"], [1.0, 0.25], []),
        Thread("c", "d", "", "x" * 1200, "", ["Five."], [1.0], []),
    ]


def same(left: list[TokenThread], right: list[TokenThread]) -> bool:
    def plain(thread):
        arrays = [thread.prefix, *thread.replies]
        return (
            [a.tolist() for a in arrays],
            {a.dtype for a in arrays},
            thread.thread_id,
            thread.community,
            *rest(thread),
        )

    def rest(thread):
        return (thread.reply_weights, thread.pairs)

    return [plain(t) for t in left] == [plain(t) for t in right]


def test_threads_become_prompts_and_replies(tokenizer):
    first, second, third = tokenize(some_threads(), tokenizer, "gm", LIMIT)
    assert first.prefix.tolist() == prompts.prompt_ids(tokenizer, "gm", "Title", "A body.", "", LIMIT)
    assert [r.tolist() for r in first.replies] == [prompts.reply_ids(tokenizer, t) for t in ("One.", "Two, longer.")]
    assert first.pairs == (Pair("p", 1, 0, 0.7, 1.5),) and second.reply_weights == (1.0, 0.25)
    assert first.size == len(first.prefix) + sum(map(len, first.replies))
    assert LIMIT - 10 < len(third.prefix) <= LIMIT


def test_a_hit_equals_a_fresh_run(tokenizer, tmp_path, monkeypatch):
    fresh = tokenize(some_threads(), tokenizer, "gm", LIMIT)
    seen = []
    written = tokenize(some_threads(), tokenizer, "gm", LIMIT, cache=tmp_path / "new", progress=seen.append)
    assert seen == [1, 2, 3]
    monkeypatch.setattr(prompts, "prompt_ids", lambda *_: pytest.fail("the second time is a read"))
    read = tokenize(some_threads(), tokenizer, "gm", LIMIT, cache=tmp_path / "new")
    assert same(fresh, written) and same(fresh, read)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_no_threads_make_an_empty_cache(tokenizer, tmp_path):
    for _ in range(2):
        assert tokenize([], tokenizer, "gm", LIMIT, cache=tmp_path) == []


def changed_threads(**changes) -> list[Thread]:
    first, *others = some_threads()
    return [dataclasses.replace(first, **changes), *others]


def vary(tokenizer, what: str) -> dict:
    """The arguments of `tokenize` with one ingredient changed."""
    arguments = {"threads": some_threads(), "tokenizer": tokenizer, "task": "gm", "max_prompt_tokens": LIMIT}
    other = copy.deepcopy(tokenizer)
    if what == "template":
        other.chat_template = other.chat_template.replace("<|im_end|>\n", "<|im_end|>")
    if what == "vocabulary":
        other.add_tokens(["warm"])
    return arguments | {
        "title": {"threads": changed_threads(title="Title!")},
        "body": {"threads": changed_threads(body="A body")},
        "reply": {"threads": changed_threads(replies=["One.", "Two."])},
        "weight": {"threads": changed_threads(reply_weights=[0.0, 0.5])},
        "pair": {"threads": changed_threads(pairs=[Pair("p", 0, 1, 0.7, 1.5)])},
        "probability": {"threads": changed_threads(pairs=[Pair("p", 1, 0, 0.8, 1.5)])},
        "order": {"threads": some_threads()[::-1]},
        "draft": {"task": "im", "threads": [dataclasses.replace(t, draft="d") for t in some_threads()]},
        "limit": {"max_prompt_tokens": LIMIT + 1},
        "template": {"tokenizer": other},
        "vocabulary": {"tokenizer": other},
        "wording": {},
        "nothing": {},
    }.get(what)


@pytest.mark.parametrize(
    "what",
    "title body reply weight pair probability order draft limit template vocabulary version wording nothing".split(),
)
def test_every_ingredient_changes_the_fingerprint(tokenizer, tmp_path, monkeypatch, what):
    tokenize(**vary(tokenizer, "nothing"), cache=tmp_path)
    if what == "version":
        monkeypatch.setattr(prompts, "VERSION", "other")
    if what == "wording":
        monkeypatch.setitem(prompts._SYSTEM, "gm", "Answer.")
    arguments = vary(tokenizer, "nothing" if what == "version" else what)
    again = tokenize(**arguments, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == (1 if what == "nothing" else 2)
    assert same(again, tokenize(**arguments))


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_a_torn_cache_is_made_anew(tokenizer, tmp_path, damage):
    fresh = tokenize(some_threads(), tokenizer, "gm", LIMIT, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "garbage": b"\0" * len(whole)}[damage])
    assert same(fresh, tokenize(some_threads(), tokenizer, "gm", LIMIT, cache=tmp_path))
    assert path.read_bytes()[:2] == whole[:2]


def test_a_draft_longer_than_the_prompt_is_the_users_mistake(tokenizer):
    thread = Thread("abc", "", "t", "b", "d" * 2000, ["r"], [1.0])
    with pytest.raises(UserError, match=f"thread abc: .* {LIMIT} are allowed. Raise config.max_prompt_tokens"):
        tokenize([thread], tokenizer, "im", LIMIT)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "thread a: .*chat template"),
        ("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}Reply:", "thread a: .* cannot be trained on"),
    ],
)
def test_a_base_that_cannot_be_asked_is_named_as_such(tokenizer, template, message):
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    with pytest.raises(UserError, match=message) as error:
        tokenize(some_threads(), other, "gm", LIMIT)
    assert "max_prompt_tokens" not in str(error.value)
