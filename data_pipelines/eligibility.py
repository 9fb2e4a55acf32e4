"""Who may take part: every post and reply gets one verdict, `None` or the reason why not.

The order of the checks is part of the contract: a row is counted under the first reason that holds.
"""

import re

from data_pipelines.records import Post, Reply, Traits

MIN_POST_CHARACTERS = 20
MIN_TOKENS, MAX_TOKENS = 16, 512
BYTES_PER_TOKEN = 4  # An estimate; the exact length is checked where texts become tokens.
MIN_SCORE_AGE = 24 * 3600
MAX_REPLIES = 50

_BOT_NAME = re.compile(r"(?:^automoderator$|(?:^|[-_])bot\d*$|bot[-_]|[a-z](?:Bot|BOT|_bot)\d*$|moderator$)", re.I)
_BOT_TEXT = re.compile(r"\b(?:i am|i'm|this is) a bot\b|\baction was performed automatically\b|^!?remindme", re.I)


def is_bot(author: str | None, text: str) -> bool:
    return bool(author and _BOT_NAME.search(author)) or bool(_BOT_TEXT.search(text))


def tokens(text: str) -> float:
    """Estimated length in tokens: UTF-8 bytes / 4."""
    return len(text.encode()) / BYTES_PER_TOKEN


def judge_post(post: Post, traits: Traits) -> str | None:
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
    return None


def judge_reply(reply: Reply, post: Post) -> str | None:
    """Returns why a reply to an eligible post is not eligible, None if it is. Its post is known by then."""
    if not reply.top_level:
        return "reply_nested"
    if reply.gone:
        return f"reply_{reply.gone}"
    if reply.by_poster:
        return "reply_by_poster"
    if reply.official:
        return "reply_official"
    if is_bot(reply.author, reply.text):
        return "reply_bot"
    return _judge_votes(reply, post) or _judge_length(reply)


def _judge_votes(reply: Reply, post: Post) -> str | None:
    if reply.score is None:
        return "reply_no_score"
    if reply.score_hidden or post.contest:
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
