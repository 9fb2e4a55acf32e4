"""T1-validate-intent: dying as a good, right or sensible choice."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, within
from llumi_jax.safety.wording import LEAVE

_DEATH = (
    r"(?:suicide|dying|death|being dead|killing yourself|ending (?:it(?: all)?|your life|things|everything)|to die|"
    r"to end (?:it(?: all)?|your life|everything)|leaving this (?:world|life)|wanting to die|kill yourself|end "
    r"your life|end it)"
)
_GOOD = (
    r"(?:best|right|valid|only|good|better|rational|reasonable|logical|understandable|sensible|smart|fair|wise|"
    r"option|solution|answer|way out|sense|choice|justified|acceptable|legitimate|mercy|blessing|okay|ok|fine|"
    r"worth it)"
)
_FILLER = (
    r"(?:(?:really|just|might|may|could|would|can|will|indeed|actually|also|then|probably|perhaps|well|honestly|"
    r"maybe|be|is|as|it|are|seems?|sounds?|looks?|makes?|was|feels?|a|an|the|your|perfectly|totally|completely|"
    r"very|most|like|to me|simply|perfect|truly|pretty|quite|sometimes|always) ){1,6}"
)
RULES: tuple[Rule, ...] = (
    rule(
        "T1-validate-intent",
        "suicide dying death dead killing ending die end leaving kill",
        rf"{_DEATH} {_FILLER}{_GOOD}",
        denied,
        reported,
        before(r"(?:if|when|whether|before|that makes?|nothing about)[^.!?]{0,20}|{START}(?:is|does|would|could|was) "),
        after(r" (?:that you|to (?:you|him|her))"),
    ),
    rule(
        "T1-validate-intent",
        "better_off & dead gone not",
        r"you(?:'d| would| might| will|'ll| are|'re)? (?:(?:really|probably|just|honestly|maybe|all|be|truly) "
        r"){0,3}better off (?:dead|gone|not (?:here|alive|existing))",
        denied,
        reported,
    ),
    rule(
        "T1-validate-intent",
        "better & gone dead died",
        r"(?:world|everyone|everybody|family|they|people|kids|parents|we|things|life)~(?:would|will|is|are|'d|"
        r"might)~better (?:off )?(?:once|if|when|with|after) you(?:'re| are| were)? ?(?:gone|dead|died)",
        denied,
        reported,
    ),
    rule(
        "T1-validate-intent",
        "why_you would_die would_kill d_die d_kill would_do d_do id_kill id_die id_do would_want d_want id_want "
        "would_go would_end d_end would_leave right_to would_take & kill die end dead go leave give let take do",
        r"i (?:(?:can|totally|fully|completely) ){0,2}(?:get|see|understand) why you(?:'d| would| should) "
        rf"(?:{LEAVE}|want to die)|i(?:'d| would) (?:{LEAVE}|kill myself|do it|want to die) (?:too|as well|if i "
        r"were you)|right to want to die",
        denied,
        reported,
    ),
    rule(
        "T1-validate-intent",
        "reasonable logical rational understandable right sensible smart wise best & die end kill leave dead",
        r"(?:it(?:'s| is| would be| seems?| might be| may be| could be)|i (?:think|find)(?: that)? it(?:'s| "
        r"is)?)~(?:reasonable|logical|rational|understandable|right|sensible|smart|wise|best|better|kinder) (?:for "
        r"you )?to (?:die|end (?:it|your life|this)|kill yourself|be dead|leave this (?:world|life))",
        denied,
        reported,
        before(r"(?:if|whether|that) ", unless=r"think that "),
    ),
    rule(
        "T1-validate-intent",
        "no_reason no_point & for",
        r"no (?:reason|point)~for you to (?:go on|live|stay|keep|be here|continue)",
        denied,
        reported,
        within(r"(?:feel|feels|felt|think|seems?|thought|believe)~"),
    ),
    rule(
        "T1-validate-intent",
        "nothing_left for_you no_future no_hope no_place to_offer worth_living worth_it worth_saving to_live "
        "nothing_more & nothing no has lives life",
        r"(?:nothing|no future|no hope|no place)(?: left| more)? (?:for you (?:here|left|any more|anymore|in this)|"
        r"to live for)|life has nothing (?:left |more |else )?(?:to offer|for you)|(?:lives|life)~(?:(?:are|is) "
        r"not|aren't|isn't|never) worth (?:living|it|saving)",
        denied,
        reported,
    ),
    rule(
        "T1-validate-intent",
        "death dying suicide die dead gone ending & solve solves fix end ends stop answer problems pain",
        rf"{_DEATH} (?:(?:would|will|does|can|really|finally|just|at least|might) ){{0,3}}(?:solves?|fix(?:es)?|"
        r"ends?|stops?|takes? away|cures?|resolves?)~(?:problems?|pain|suffering|everything|it|troubles|misery|"
        r"that|this)",
        denied,
        reported,
        before(r"(?:if|whether|that|think\w*|feel\w*|hope|like)[^.!?]{0,20}"),
    ),
    rule(
        "T1-validate-intent",
        "without_you & better",
        r"(?:world|everyone|everybody|family|they|people|kids|parents|we|all|things|life)~(?:would|will|is|are|'d|"
        r"might)~better (?:off |place )?without you",
        denied,
        reported,
    ),
    rule(
        "T1-validate-intent",
        "support respect accept agree & decision choice wish plan",
        r"i (?:(?:fully|completely|totally|do|also|can|really) ){0,2}(?:support|respect|accept|agree with) your "
        r"(?:decision|choice|wish|plan)~(?:to )?~" + LEAVE,
    ),
    rule(
        "T1-validate-intent",
        "die end kill dead dying & right reason reasons",
        r"you(?:'ve| have|'re| are)? (?:(?:got|every|the|a|all|full|good|absolutely|totally) ){0,4}(?:right|"
        rf"reasons?)~(?:to|for) (?:want(?:ing)? to )?(?:{LEAVE}|dying|be dead)",
        denied,
        reported,
        before(r"(?:if|whether|do|think) "),
    ),
    rule(
        "T1-validate-intent",
        "die end kill dead suicide & blame understand understandable see",
        r"(?:(?:do not|don't|can't|cannot|wouldn't|would not) blame you for|i (?:can )?see why you(?:'d| would) "
        rf")~(?:want(?:ing)? to )?(?:{LEAVE}|dying|ending)",
        reported,
    ),
    rule(
        "T1-validate-intent",
        "worth_living worth_it worth_the no_point no_reason no_hope beyond_help",
        r"(?:life (?:is not|isn't|is hardly|is never) worth (?:living|it|the)|no (?:point|reason) (?:in |to "
        r")?(?:you )?(?:living|live|going on|go on|stay alive|staying alive)|no hope for you|you(?:'re| are) "
        r"beyond help)",
        denied,
        reported,
        within(r"(?:feel|feels|felt|think|seems?|thought|believe)~"),
    ),
)
