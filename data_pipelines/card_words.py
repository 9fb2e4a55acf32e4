"""The card's ids in words: what a person reads where the card says `reply_score_young`."""

import re

from data_pipelines import eligibility

_FUNNEL = {
    "broken_line": "line cannot be read",
    "post_link": "post is a link, no text",
    "post_bot": "post by a bot",
    "post_short": f"post under {eligibility.MIN_POST_CHARACTERS} characters",
    "post_edited": "post edited later",
    "post_over_18": "post marked over 18",
    "post_not_english": "post not in English",
    "post_repeated": "post seen before",
    "post_near_duplicate": "near-copy of a post",
    "post_taken_back": "post by a person removed",
    "post_by_minor": "post by a minor",
    "post_without_preference": "post without a preference",
    "post_without_replies": "post without eligible replies",
    "reply_nested": "reply to a reply",
    "reply_by_poster": "reply by the poster",
    "reply_official": "reply by a moderator",
    "reply_bot": "reply by a bot",
    "reply_no_score": "reply without a score",
    "reply_score_hidden": "reply with a hidden score",
    "reply_no_time": "reply without a time",
    "reply_no_views": "reply without views",
    "reply_dead_month": "score of a dead month",
    "reply_not_english": "reply not in English",
    "reply_taken_back": "reply by a person removed",
    "reply_by_minor": "reply to a minor's post",
    "reply_without_preference": "reply without a preference",
    "reply_unsafe": "reply dropped for safety",
    "reply_score_young": f"score read within {eligibility.MIN_SCORE_AGE // 3600} h",
    "reply_short": f"reply under {eligibility.MIN_TOKENS} tokens",
    "reply_long": f"reply over {eligibility.MAX_TOKENS} tokens",
    "reply_repeated": "reply seen before",
    "reply_orphan": "reply without its post",
    "reply_post_dropped": "reply to a dropped post",
    "reply_beyond_first_50": f"reply after the first {eligibility.MAX_REPLIES}",
    "reply_template": "template: one text, many posts",
    "reply_near_duplicate": "near-copy of a reply",
    "candidates": "preferences that the rule found",
    "same_text": "both replies nearly alike",
    "lived_experience": "chosen tells an experience",
    "length_ratio": "one over 3 times as long",
    "caps": "beyond the rule's caps",
    "author_purge": "held out, author in train",
    "balance": "thinned for balance",
    "kept": "kept",
    "unchanged": "the draft as it was",
    "unsafe": "breaks the safety gate",
    "personal_detail": "holds a personal detail or mask",
    "talks_about_itself": "speaks of itself",
    "over_twice_the_draft": "over twice as long as the draft",
    "length": f"under {eligibility.MIN_TOKENS} or over {eligibility.MAX_TOKENS} tokens",
    "template": "template: one text, many posts",
    "near_duplicate": "near-copy of another revision",
    "content_lost": "says something else",
    "reviser_no_answer": "the reviser did not answer",
    "reviser_refused": "the reviser refused",
    "reviser_cut_off": "cut off at the reviser's limit",
    "reviser_withheld": "withheld by the reviser's rules",
}
_SOURCES = {
    "votes": "another's better reply, against the draft",
    "votes_overwritten": "another's better reply, against one less like the draft",
    "synthetic": "a model's revision, against the draft",
    "synthetic_overwritten": "a model's revision, against another's reply",
}
_FACTS = {
    "copies": "rows seen more than once",
    "other_score": "of them with another score",
    "mean": "mean score",
    "share_of_ones": "scores of 1",
}
_AUDITS = {
    "auc_length": "length",
    "auc_earlier": "time (earlier)",
    "auc_time": "time (earlier)",
    "auc_author_frequency": "author's frequency",
    "auc_views": "views",
    "auc_replier_win_rate": "replier's other wins",
}
SETTINGS = {
    "min_ratio": "score: at least so many times the other's",
    "min_gap": "score: at least so many above the other's",
    "min_posterior": "probability of being preferred, at least",
    "min_after_fuzz": "… with the fuzz margin held against it, at least",
    "time_order": "chosen is not the earlier reply",
    "calm": "neither reply is controversial",
    "chosen_quantile": "chosen at or above this quantile of scores",
    "rejected_quantile": "rejected at or below this quantile of scores",
    "max_hours_apart": "written at most so many hours apart",
    "max_uses": "uses of one reply, at most",
    "max_pairs_per_post": "pairs of one post, at most",
    "max_chosen_per_author": "chosen replies of one author, at most",
}


def spaced(name: str) -> str:
    """Returns an id without a word of its own as words: `reply_too_odd` -> `reply too odd`."""
    return re.sub(r"[_\s]+", " ", str(name)).strip()


def reason(name: str) -> str:
    """Returns a reason of a funnel, or a step of the pairing, in words."""
    return _FUNNEL.get(name) or spaced(name)


def audit(name: str) -> str:
    """Returns what an audit looks at: `auc_length` -> `length`."""
    return _AUDITS.get(name) or spaced(name.removeprefix("auc_"))


def source(name: str) -> str:
    """Returns where a row of the task IM comes from, in words."""
    return _SOURCES.get(name) or spaced(name)


def setting(name: str) -> str:
    """Returns a number of the rule in words."""
    return SETTINGS.get(name) or spaced(name)


def fact(name: str) -> str:
    """Returns the name of any other number in words."""
    return _FACTS.get(name) or spaced(name)


def warning(text: str) -> str:
    """Returns a warning of the card with the audit's name in words."""
    return re.sub(r"\bauc_\w+", lambda match: audit(match[0]).capitalize(), text)
