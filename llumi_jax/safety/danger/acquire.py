"""T0-acquire: how to get hold of a means."""

from llumi_jax.safety.care import EVERYDAY, SAFE, TREATMENT
from llumi_jax.safety.matching import Rule, danger, without
from llumi_jax.safety.wording import HARD_MEANS, MEANS, MEDICINES, PILLS

_BUY = (
    r"(?:buy|buying|bought|order|ordering|ordered|purchase|purchased|(?:get|getting|got|gets) (?:hold of|{WHOSE} "
    r"hands on|hands on)|obtain|obtained|acquire|acquired|steal|stole|stolen|score|sell|sells|sold|source)"
)
_GET = r"(?:get|getting|got|find|finding|found|borrow|order|buy|take)"
_UNASKED = (
    r"(?:online|(?:on|from|off) the (?:dark|deep) web|dark web|without (?:a |any |an )?(?:prescription|licen[cs]e|"
    r"permit|id|questions?|background check|anyone (?:asking|knowing|noticing)|anybody (?:asking|knowing)|being "
    r"asked|{RELATIVES})|{NOBODY}~(?:ask|asks|check|checks|cares)|(?:does|do|will)(?: not|n't) (?:ask|check)|over "
    r"the counter|no questions asked|from a dealer|easily|cheap|legally|illegally|under the counter)"
)
RULES: tuple[Rule, ...] = (
    danger(
        "acquire",
        f"{HARD_MEANS} {PILLS} poison",
        rf"{_BUY}(?: (?:me|you|us|some|a|an|the|those|enough|yourself|your own)){{0,6}} (?P<x>(?:{{HARD}}|{{PILL}}|"
        r"poison))",
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
    ),
    danger("acquire", MEANS, rf"(?:{_BUY}|{_GET})~(?P<x>{{MEANS}})~~{_UNASKED}", *SAFE, *TREATMENT),
    danger(
        "acquire",
        MEANS,
        r"(?P<x>{MEANS})~~(?:had|bought|ordered|found|sold|gotten|got|obtained|available|easy|sent|delivered|get|"
        rf"buy|order)~~{_UNASKED}",
        *SAFE,
    ),
    danger(
        "acquire",
        MEANS,
        r"(?:where|how) (?:(?:can|do|could|to|would|does|should|you|i|we|one|someone|a person|people|best) "
        rf"){{1,3}}(?:{_BUY}|{_GET})~(?P<x>{{MEANS}})",
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
    ),
    danger("acquire", MEANS, rf"(?:{_BUY}|found|got)~(?P<x>{{MEANS}})", without("{INTENT}", 1), *SAFE, *TREATMENT),
    danger(
        "acquire",
        f"{HARD_MEANS} {PILLS}",
        rf"(?:easy|hard|simple|difficult|possible) (?:for \w{{2,10}} )?to (?:{_BUY}|{_GET})~(?P<x>{{HARD}}|"
        rf"{{PILL}})|(?:{{HARD}}|{{PILL}}) (?:is|are) (?:easy|simple) to (?:{_BUY}|{_GET})",
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
    ),
    danger(
        "acquire",
        f"{HARD_MEANS} {PILLS}",
        r"ask {WHOSE} \w{3,12} for (?:(?:some|a|an|the|his|her|their) ){0,2}(?P<x>{HARD}|{PILL})",
        *SAFE,
        *EVERYDAY,
    ),
    danger(
        "acquire",
        MEDICINES,
        r"(?:save|saved|saving|stockpile|stockpiled|stockpiling|hoard|hoarded|hoarding|stash|stashed|stashing|"
        r"collect|collected|collecting|stock)(?: up)?(?: (?:on|my|your|the|all|enough|those|of|his|her|"
        r"sleeping)){0,4} {MEDICINE}",
        *SAFE,
    ),
    danger(
        "acquire",
        "buy order purchase obtain acquire steal hold",
        r"(?:where|how) to (?:buy|order|purchase|obtain|acquire|get hold of)~~(?:without (?:a |any "
        r")?(?:prescription|questions|licen[cs]e|anyone asking|being asked)|{INTENT})",
        *SAFE,
    ),
)
