"""The only place where a GM or IM prompt is worded, and where a conversation becomes token ids.

Training, generation, the demo and exports all come through here, so that a model is asked in exactly the words it
was trained on. Change a word and raise `VERSION`: caches and exports carry it.
"""

import re
from typing import Any

VERSION = "1"

TASKS = ("gm", "im")
_CUT = " […] "
_TURN_MARK = re.compile(r"<\|\w+\|>|\[/?[A-Z_]+\]|<</?[A-Z]+>>")

_SYSTEM = {
    "gm": (
        "You write replies in an online peer support community. Answer the post: warm, specific to this person, "
        "honest, in plain words. Offer small steps as choices. Never claim experiences of your own, never diagnose."
    ),
    "im": (
        "You help a volunteer to improve the draft of a reply in an online peer support community. Keep what the "
        "draft says and how it sounds; make it warmer, clearer and safer. Answer with the improved reply alone."
    ),
}


class PromptTooLong(ValueError):
    """A prompt that does not fit even without the body of its post."""


def messages(task: str, title: str, body: str, draft: str = "") -> list[dict[str, str]]:
    """The conversation that asks for a reply (`task` "gm") or for the revision of a draft ("im").

    Raises:
      ValueError: an unknown task, or "im" without a draft.
    """
    if task not in TASKS:
        raise ValueError(f"task {task!r} is not one of {', '.join(TASKS)}")
    post = f"{title}\n\n{body}".strip()
    if task == "im":
        if not draft.strip():
            raise ValueError("task 'im' needs a draft to improve")
        post = f"Post:\n{post}\n\nDraft:\n{draft.strip()}"
    return [{"role": "system", "content": _SYSTEM[task]}, {"role": "user", "content": post}]


def prompt_ids(
    tokenizer: Any, task: str, title: str, body: str, draft: str = "", max_tokens: int | None = None
) -> list[int]:
    """Token ids up to where the assistant's reply begins.

    A post that makes the prompt longer than `max_tokens` loses the middle of its body: how it begins and how it
    ends matter most. Special tokens typed into a post are removed: nobody may end the user's turn from inside.

    Raises:
      PromptTooLong: the prompt does not fit even without the body.
    """
    title, body, draft = (without_special_tokens(tokenizer, text) for text in (title, body, draft))
    ask = lambda text: _encode(tokenizer, _render(tokenizer, messages(task, title, text, draft)))
    ids = ask(body)
    if max_tokens is None or len(ids) <= max_tokens:
        return ids
    spans = tokenizer(body, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    keep = len(spans)
    while keep and len(ids) > max_tokens:
        keep = max(0, keep - max(len(ids) - max_tokens, 1))
        ids = ask(_shorten(body, spans, keep))
    if len(ids) > max_tokens:
        raise PromptTooLong(f"the prompt needs {len(ids)} tokens without the post's body, {max_tokens} are allowed")
    return ids


def reply_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a reply as the assistant says it, ending with the end-of-turn token."""
    ids = _reply_with_end(tokenizer, without_special_tokens(tokenizer, text).strip())
    return ids[: ids.index(end_of_turn_id(tokenizer)) + 1]


def end_of_turn_id(tokenizer: Any) -> int:
    """The token with which the chat template ends a reply: a target in training, the stop in generation."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    for token in _reply_with_end(tokenizer, "x"):
        if token in special:
            return token
    return tokenizer.eos_token_id


def without_special_tokens(tokenizer: Any, text: str) -> str:
    """Removes what a template marks turns with from a person's text, also what a removal would put together.

    These are the special tokens, and marks that a template writes as plain text (Mistral's [/INST], TinyLlama's
    <|user|>).
    """
    marks = _TURN_MARK.findall(str(tokenizer.chat_template or ""))
    spellings = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab(), *marks}
    while found := [token for token in spellings if token in text]:
        for token in found:
            text = text.replace(token, "")
    return text


def _shorten(text: str, spans: list[tuple[int, int]], keep: int) -> str:
    """Keeps the first and the last tokens of a text, `keep` in all."""
    if not keep:
        return ""
    head = (keep + 1) // 2
    tail = keep - head
    end = text[spans[-tail][0] :] if tail else ""
    return f"{text[: spans[head - 1][1]].rstrip()}{_CUT}{end.lstrip()}"


def _reply_with_end(tokenizer: Any, text: str) -> list[int]:
    asked = [{"role": "user", "content": "?"}]
    start = _render(tokenizer, asked)
    whole = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": text}], tokenize=False)
    if not whole.startswith(start):
        raise ValueError("the chat template words a prompt differently once it is answered; it cannot be trained on")
    return _encode(tokenizer, whole[len(start) :])


def _render(tokenizer: Any, conversation: list[dict[str, str]]) -> str:
    try:
        return tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # Templates refuse a system turn with errors of their own making (Mistral's does).
        if conversation[0]["role"] != "system":
            raise
        system, first, *rest = conversation
        merged = {"role": "user", "content": f"{system['content']}\n\n{first['content']}"}
        try:
            return _render(tokenizer, [merged, *rest])
        except Exception:
            raise error from None


def _encode(tokenizer: Any, text: str) -> list[int]:
    # The template has written the special tokens already; a second beginning-of-sequence token would be a new prompt.
    return tokenizer(text, add_special_tokens=False)["input_ids"]
