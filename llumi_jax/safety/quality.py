"""T2: what is weighed down and looked at: it harms nobody by itself, and helps little."""

import itertools
import re
from collections.abc import Iterator

from llumi_jax.safety.context import Scan, Span
from llumi_jax.safety.matching import Rule, before, denied, reported, rule
from llumi_jax.safety.wording import compiled

_LINK = re.compile(r"(?:https?://|www\.)\S+|\[url\]|\[[^\]\n]{0,200}\]\([^)\s]{0,500}\)")
_LINE = (
    r"(?<!\w)(?:988|116 ?123|13 ?11 ?14|741741|hotlines?|helplines?|lifelines?|crisis|samaritans|suicide "
    r"prevention|1\W?800[\d-]{7,10})(?!\w)"
)
MIN_WORDS = 8  # with fewer words of its own a reply is a link, or a number, and nothing else
MAX_WORDS = 60  # with more words there is something besides the number, even in one sentence
_WORD = re.compile(r"[a-z']+")


def _link_only(scan: Scan, low: int, high: int) -> Iterator[Span]:
    links = list(_LINK.finditer(scan.text))
    rest = _LINK.sub(" ", scan.text)
    if links and len(_WORD.findall(rest)) < MIN_WORDS:
        yield links[0].start(), links[-1].end()


def _hotline_only(scan: Scan, low: int, high: int) -> Iterator[Span]:
    """Few words stand outside the sentences that name a line."""
    lines = compiled(_LINE)
    bounds = [0, *scan.ends, len(scan.text)]
    named, own = [], 0
    for low, high in itertools.pairwise(bounds):
        if lines.search(scan.text, low, high):
            named.append((low, high))
        else:
            own += len(_WORD.findall(scan.text, low, high))
    if named and own < MIN_WORDS and sum(len(_WORD.findall(scan.text, *span)) for span in named) < MAX_WORDS:
        yield named[0][0], named[-1][1]


_PLATFORM = (
    r"(?:discord|whats\W?app|telegram|snap(?:chat)?|kik|insta(?:gram)?|signal|skype|zoom|facebook|messenger|dms?|"
    r"pms?|private|inbox|chat|e\W?mail)"
)
_OFF_PLATFORM = (
    r"(?:dm|pm|inbox|msg|message|text|e\W?mail|whats\W?app) me|(?:add|find|call|reach|contact|hit) me (?:on|via|in|"
    rf"at|up|privately|directly)(?: {_PLATFORM})?|my (?:{_PLATFORM}|messages|number) (?:is|are)(?: always)? (?:open|"
    r"here|free|below)|(?:send|shoot|drop) me a (?:message|dm|pm|text|chat|line|private)|(?:chat|talk|speak)(?: "
    r"with me)? (?:privately|in private)|(?:let's|we (?:can|could)|happy to) (?:talk|chat|move|take this|continue|"
    rf"meet)~(?:on|in|over|to|via) (?:{_PLATFORM})|join (?:my|our) (?:discord|server|group|whats\W?app)|here(?:'s| "
    r"is) my (?:number|e\W?mail|discord|phone)"
)
_STATIVE = (
    r"(?! (?:be(?! (?:in|at|on|more|less|out|doing|able))|have (?:been|had|felt|to)|carry|bear|endure|face|live "
    r"with|deal with|hide|put up|feel|not|never|know|ever|n't|want|expect))"
)

RULES: tuple[Rule, ...] = (
    rule(
        "T2-off-platform",
        "dm_me pm_me inbox_me msg_me message_me text_me email_me mail_me whatsapp_me add_me find_me call_me "
        "reach_me contact_me hit_me send_me shoot_me drop_me my_dms my_dm my_pms my_pm my_inbox my_messages "
        "my_number my_discord my_chat my_e my_email my_whatsapp my_telegram my_snap my_snapchat my_insta "
        "my_instagram my_kik my_signal my_skype my_phone my_server my_group our_server our_discord privately "
        "in_private private discord whatsapp telegram dms dm pms pm zoom skype messenger inbox chat",
        _OFF_PLATFORM,
        before(
            r"(?:he|she|they|who|people|friends?|not|never|nobody|mom|mum|dad|to|did|would|will|i)(?: \w{2,9})? ",
            unless=r"(?:free|want|like|welcome|able) to ",
        ),
    ),
    rule(
        "T2-you-should",
        "you_should you_must you_need you_ought you_gotta you_got you_have ve_got really_should really_must "
        "really_need really_have definitely_should definitely_must definitely_need definitely_have "
        "absolutely_should absolutely_must absolutely_need just_should just_must just_need just_have also_should "
        "also_must also_need also_have first_should first_must first_need",
        r"you (?:(?:really|definitely|absolutely|just|also|first) )?(?:should|must|need to|ought to|gotta|have got "
        rf"to|have to){_STATIVE}",
        denied,
        reported,
        before(
            r"(?:if|what|whether|do|that|like|everything|all|thing|things|when|because|as|than|did|how|why|who|"
            r"does) ?"
        ),
    ),
    Rule("T2-link-only", (frozenset({"http", "https", "www", "url"}),), frozenset(), _link_only),
    rule(
        "T2-template",
        "name username insert copy copied pasted paste copypasta post every",
        r"(?:\[(?:(?:your|their|first|user|poster'?s?) ?)?(?:name|username)\]|\{(?:user|first)?_?name\}|<(?:your "
        r")?(?:user)?name>|\[insert[^\]]{0,40}\]|copy (?:and|&|n) paste|copypasta|copy\W?pasted|(?:copied|pasted) "
        r"(?:from|this|and)|(?:post|leave|paste|write|put|comment) this (?:under|on|in|to|for) (?:every|all|each|"
        r"everyone))",
        denied,
    ),
    Rule(
        "T2-hotline-only",
        (frozenset("hotline hotlines helpline helplines lifeline lifelines crisis samaritans call text dial".split()),),
        frozenset(),
        _hotline_only,
    ),
    rule("T2-placeholder", "method", r"\[method\]"),
)
