"""From tokens to text as they come: whole characters, then whole sentences."""

import re
from collections.abc import Sequence
from typing import Any

REPLACEMENT = "\ufffd"  # what a decoder shows for bytes that are not (yet) a character

# A sentence ends at its mark, with the quotes and brackets that close on it, once white space follows; marks of
# Chinese and Japanese need none. A line break ends one too.
_SENTENCE_END = re.compile(r"""[.!?…]+["'”’»)\]*]*\s+|[。！？]+[”’」』）]*|\n+""")
LONGEST_HELD = 400  # characters; text without any sentence end is released at a space before this


def decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    """The text of `tokens`, special tokens left out, exactly as the vocabulary spells it."""
    return tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)


class TextStream:
    """Turns a growing list of tokens into pieces of text that never end inside a character.

    The pieces, with the one of `flush`, join to `decode` of all tokens.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._shown = 0

    def push(self, tokens: Sequence[int]) -> str:
        """Adds tokens; returns the characters that are complete and were not returned before."""
        self._tokens.extend(tokens)
        return self._advance(decode(self._tokenizer, self._tokens).rstrip(REPLACEMENT))

    def flush(self) -> str:
        """What is left at the end of a reply, broken characters included."""
        return self._advance(decode(self._tokenizer, self._tokens))

    def _advance(self, text: str) -> str:
        piece = text[self._shown :]
        self._shown = max(self._shown, len(text))
        return piece


class Sentences:
    """Holds text back until a sentence is whole, so that rules can see it before a person does."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, piece: str) -> list[str]:
        """Adds text; returns the sentences that are whole now, with the white space that follows them."""
        self._held += piece
        whole, start = [], 0
        for match in _SENTENCE_END.finditer(self._held):
            whole.append(self._held[start : match.end()])
            start = match.end()
        self._held = self._held[start:]
        while len(self._held) > LONGEST_HELD:
            cut = self._held.rfind(" ", 1, LONGEST_HELD) + 1 or LONGEST_HELD
            whole.append(self._held[:cut])
            self._held = self._held[cut:]
        return whole

    def flush(self) -> list[str]:
        """The rest, at the end of a reply."""
        rest, self._held = self._held, ""
        return [rest] if rest else []


def sentences(text: str) -> list[str]:
    """Cuts a finished text where a stream of it would have been cut."""
    buffer = Sentences()
    return [*buffer.push(text), *buffer.flush()]
