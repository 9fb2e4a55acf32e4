"""Who may take part: every post and reply gets one verdict, `None` or the reason why not.

The order of the checks is part of the contract: a row is counted under the first reason that holds. What a row says
by itself comes first, since a reply may be read before its post; what its post says about it comes after that.
"""

import re
from dataclasses import dataclass

from data_pipelines.records import Post, Reply, Traits

MIN_POST_CHARACTERS = 20
MIN_TOKENS, MAX_TOKENS = 16, 512
BYTES_PER_TOKEN = 4  # An estimate; the exact length is checked where texts become tokens.
MIN_SCORE_AGE = 24 * 3600
MAX_REPLIES = 50


@dataclass(frozen=True)
class Options:
    """What a user may ask for on top.

    english: only posts and replies in English.  edited, over_18, minors: whether such posts may take part.
    left_out: communities that are held out as a whole.
    """

    english: bool = False
    edited: bool = True
    over_18: bool = True
    minors: bool = False
    left_out: tuple[str, ...] = ()


_BOT_NAME = re.compile(r"(?:^automoderator$|(?:^|[-_])bot\d*$|bot[-_]|[a-z](?:Bot|BOT|_bot)\d*$|moderator$)", re.I)
_BOT_TEXT = re.compile(r"\b(?:i am|i'm|this is) a bot\b|\baction was performed automatically\b|^!?remindme", re.I)


def is_bot(author: str | None, text: str) -> bool:
    # Cheap tests first: hardly any name or text speaks of bots.
    if author and ("bot" in (name := author.lower()) or "moderator" in name) and _BOT_NAME.search(author):
        return True
    lower = text.lower()
    return ("bot" in lower or "automatically" in lower or "remindme" in lower) and bool(_BOT_TEXT.search(lower))


def tokens(text: str) -> float:
    """Estimated length in tokens: UTF-8 bytes / 4."""
    return (len(text) if text.isascii() else len(text.encode())) / BYTES_PER_TOKEN


def judge_post(post: Post, traits: Traits, options: Options = Options()) -> str | None:
    """Returns why a post is not eligible, None if it is."""
    if post.gone:
        return f"post_{post.gone}"
    if not post.is_text:
        return "post_link"
    if is_bot(post.author, post.body):
        return "post_bot"
    # A forum of questions may say everything in the title; a community's post has a text of its own.
    text = post.body if traits.posts_are_rows else f"{post.title} {post.body}"
    if len(text.strip()) < MIN_POST_CHARACTERS:
        return "post_short"
    if post.edited and not options.edited:
        return "post_edited"
    if post.over_18 and not options.over_18:
        return "post_over_18"
    return "post_not_english" if options.english and not is_english(text) else None


def judge_reply(reply: Reply, options: Options = Options()) -> str | None:
    """Returns what a reply says against itself, None if nothing."""
    if not reply.top_level:
        return "reply_nested"
    if reply.gone:
        return f"reply_{reply.gone}"
    if reply.official:
        return "reply_official"
    if is_bot(reply.author, reply.text):
        return "reply_bot"
    reason = _judge_votes(reply) or _judge_length(reply)
    if reason is None and options.english and not is_english(reply.text):
        return "reply_not_english"
    return reason


def judge_reply_to(reply: Reply, post: Post) -> str | None:
    """Returns what an eligible post says against an eligible reply, None if nothing."""
    own = reply.by_poster if reply.by_poster is not None else post.author is not None and reply.author == post.author
    if own:
        return "reply_by_poster"
    return "reply_score_hidden" if post.contest else None


def _judge_votes(reply: Reply) -> str | None:
    if reply.score is None:
        return "reply_no_score"
    if reply.score_hidden:
        return "reply_score_hidden"
    if reply.score_age is not None and reply.score_age < MIN_SCORE_AGE:
        return "reply_score_young"
    return None


def _judge_length(reply: Reply) -> str | None:
    length = tokens(reply.text)
    if length < MIN_TOKENS:
        return "reply_short"
    if length > MAX_TOKENS:
        return "reply_long"
    return None


# The most frequent function words of English, and no word that other languages in Latin letters use as often.
_ENGLISH = frozenset(
    "the and to of that is was it for with you your my have has had are be not this but they what when can just if "
    "would about been from there their like know do don't it's i'm i've will because feel how".split()
)
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def is_english(text: str) -> bool:
    """Whether at least a fifth of the words are among the most frequent of English; very short texts pass."""
    words = [word.replace("’", "'") for word in _LETTERS.findall(text.lower())]
    return len(words) < 5 or sum(word in _ENGLISH for word in words) >= 0.2 * len(words)
