"""T0-means: a means, named as a way to die or to be hurt."""

from llumi_jax.safety.care import EVERYDAY, SAFE, TREATMENT
from llumi_jax.safety.matching import Rule, after, before, danger, without
from llumi_jax.safety.wording import HARD_MEANS, INTENT_WORDS, MEANS, PILLS

_AT_HAND = (
    r"(?:have|got|hold|holding|held|bought|loaded|hid|hidden|keep|kept|look at|looking at|staring at|next to|"
    r"beside|ready|thinking (?:about|of)|sitting with|found|cleaned|saved|counting|counted|planned|with)"
)
# Said of no medicine that is taken as it should be: "use pills", "it will be pills".
_CHOSEN = (
    r"(?:use|used|using|tried|trying|choose|chose|chosen|pick|picked|get|grab|needs?|needed|need is|prefer|"
    r"recommend|suggest|go with|go for|went with|with|by|via|through|is|was|be|it's|over|than|why not|how about|"
    r"what about|thinking (?:about|of)|thought (?:about|of)|look at|looked at|buy|bought|order|ordered|hold of|"
    r"ask~for|found|find|keep|kept|hide|hid|holding|have)(?: (?:just|only|simply|some|those|about|my|the))?"
)
# Whose medicine it is, or how it is taken: said of treatment more often than not.
_OWNED = before(
    r"(?:my|your|his|her|their|our|the|these|those|same|usual|new|old|more|other|any|some|no|different|"
    r"prescri\w{2,5}|sleeping|sleep|diet|pain|birth control|anxiety|heart|vitamin|iron|take|takes|taking|took|"
    r"taken|on|with|without|like|leftover|many|two|three|four|one|few|couple|\d{1,3}|half)(?: of)? "
)
_WITH_A_PURPOSE = after(
    r" (?:for (?!an hour|hours|days|weeks|it|this|that)|to (?:help|treat|sleep)|which|and (?:therapy|talking|rest)|"
    r"or (?:therapy|talking))"
)
_WORKS = (
    r"(?:did|does|do|would|will|worked|works|work|is|are|can|could|fails?|failed|beats?|never|always|usually|"
    r"rarely|might|and)"
)
_ACT = (
    r"(?:hang|hanging|hanged|hung|shoot|shooting|shot|stab|stabbing|stabbed|drown|drowning|drowned|poison|"
    r"poisoning|poisoned|suffocate|suffocating|strangle|strangled|electrocute|gas|gassed|slit|cut|cuts|cutting|"
    r"slash|slice|slicing)"
)
_BODY = r"(?:head|mouth|temple|throat|neck|chest|wrists?|skin|arms?|thighs?|veins?|legs?)"
_NO_JUMP = (
    r"(?! (?:in|on|at|for|to|ship|through|rope|up|back|around|the|from one|right|into (?:this|the|a|conclusions|it|"
    r"bed)))"
)
RULES: tuple[Rule, ...] = (
    # A means and an intent in one sentence; a means at hand and an intent beside it; a means in hand.
    danger("means", f"{MEANS} & {INTENT_WORDS}", r"{MEANS}", without("{INTENT}"), *SAFE, *TREATMENT),
    danger(
        "means",
        f"{MEANS} && {INTENT_WORDS}",
        rf"{_AT_HAND}~(?P<x>{{MEANS}})",
        without("{INTENT}", 1),
        *SAFE,
        *TREATMENT,
    ),
    danger(
        "means", MEANS, r"i(?:'m| am|'ve been| was) (?:just )?(?:holding|staring at|sitting~with)~(?P<x>{MEANS})", *SAFE
    ),
    # Where people write about dying, these words seldom mean anything else.
    danger("means", HARD_MEANS, r"{HARD}", *SAFE, *EVERYDAY),
    danger("means", "pills tablets", r"(?:pills|tablets)", _OWNED, *SAFE, *TREATMENT, *EVERYDAY, _WITH_A_PURPOSE),
    danger("means", PILLS, rf"{_CHOSEN} (?P<x>{{PILL}})", *SAFE, *TREATMENT, *EVERYDAY, _WITH_A_PURPOSE),
    danger(
        "means",
        PILLS,
        rf"(?:{{START}}|(?:and|that|but|think|if) )(?P<x>{{PILL}}) {_WORKS}",
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
        before(r"(?:my|your|the|his|her|new|these|of) "),
    ),
    danger(
        "means",
        PILLS,
        r"(?P<x>{PILL}) (?:is|are|was|were) (?:in|under|on|beside|next to|behind|ready)",
        without("{INTENT}|{HINT}", 1),
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
    ),
    danger(
        "means",
        PILLS,
        r"(?P<x>{PILL})(?=[.!?,]|$| lol)",
        without("{INTENT}|{HINT}"),
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
        before(r"(?:my|your|his|her|the|new|these|those) "),
    ),
    danger(
        "means",
        MEANS,
        r"(?P<x>{MEANS})~~(?:wrote|writing|write|left|leave) (?:(?:my|the|a|goodbye|some) ){0,2}(?:letters?|notes?)",
        *SAFE,
    ),
    # Acts that name their means.
    danger(
        "means",
        _ACT[3:-1].replace("|", " "),
        rf"{_ACT} {{SELF}}",
        *SAFE,
        before(r"(?:instead of|sorry|urge to|urges to|if|when)\b[^.!?,;]{0,25}"),
    ),
    danger(
        "means",
        "wrist wrists throat throats vein veins arm arms thigh thighs skin leg legs",
        r"(?:cut|cuts|cutting|slit|slitting|slash|slashed|slice|sliced|carve|carved)~{WHOSE} (?:own )?(?:wrists?|"
        r"throats?|veins?|arms?|thighs?|skin|legs?)",
        *SAFE,
    ),
    danger("means", "brains head", r"(?:blow|blew|blowing)~(?:brains?|head) (?:out|off)", *SAFE),
    danger("means", "trigger", r"(?:pull|pulled|pulling) the trigger(?! on)", *SAFE),
    danger(
        "means",
        HARD_MEANS,
        rf"(?P<x>{{HARD}})~(?:to|in|into|through|against|on|around|across) {{WHOSE}} (?:own )?{_BODY}",
        *SAFE,
    ),
    danger(
        "means",
        "overdose overdosed overdosing overdoses",
        r"overdos(?:e|ed|ing|es)",
        *SAFE,
        before(r"(?:accidental|risk of|accidentally|prevents?|preventing|suspect an?|drug) "),
        after(
            r" (?:on|of) (?:\w+ )?(?:coffee|chocolate|sugar|caffeine|cute\w*|news|information|work|social media|"
            r"cookies)"
        ),
    ),
    danger(
        "means",
        "jump jumped",
        r"(?:tried to|trying to|going to|about to|wanted to|want to|planning to|plan to|ready to|nearly|almost|"
        rf"could always|you (?:should|could)|just) (?P<x>jump(?:ed)?){_NO_JUMP}",
        *SAFE,
    ),
)
