"""What makes a means or a place harmless: it is put out of reach, not used, asked about to help, or a treatment."""

from llumi_jax.safety.context import Scan
from llumi_jax.safety.matching import Guard, after, before, within
from llumi_jax.safety.wording import compiled, whole

_ACTS = (
    r"(?:use|used|using|take|took|taken|taking|touch|touched|touching|been|pick|picked|reach|reaching|go|went|"
    r"going|gone|buy|bought|get|keep|turn|turned|turning|jump|jumped|jumping|do|did|done|try|tried|trying|have|act|"
    r"hurt|hurting|cut|hang|shoot|overdose|swallow|swallowed|order|drink|stay|stand|sit|be|think|step|walk|climb|"
    r"look|looking|find|steal|bring)"
)
_KEPT_FROM = (
    r"\b(?:(?:{NT}|do not|did not|never|not|cannot|nobody should|no one should|without|instead of|rather than|"
    r"(?:stop|stops|stopped|keep|keeps|kept) (?:you|me|him|her|them|us|{SELF}) from|against|resist\w*|avoid\w*) "
    rf"(?:(?:you|to|ever|even|actually|please|should|want|wanted|the urge) ){{0,4}}{_ACTS}\b[^.!?,;]{{0,22}}|"
    r"(?:{NT}|do not|did not|not|never|cannot|without|instead of|rather than|away from|avoid\w*)(?: (?:any|the|a|"
    r"your|my|to|ever|please|want to|going to|actually)){0,3} )$"
)
_CALL_HELP = (
    r"(?:call|ring|dial|phone|contact|text|reach|go to|get to|get|see)~(?:emergency|911|999|112|000|ambulance|"
    r"hospital|er|poison control|doctor|urgent care)|emergency (?:services|room|department|number)|ambulance"
)
_HELP = rf"{_CALL_HELP}|hospital|paramedics?|911|999|112"
_TO_SAFETY = (
    r"where you (?:could|can) (?:sit|go|wait|be|stay)|somewhere (?:warm|safe|inside|with people)|(?:put|keep|kept|"
    r"get|give|gave|hand|lock|move|throw|threw|leave|hold|take|bring|drop)~(?:it|them|that|those)~(?:away|down|out|"
    r"to|over|somewhere|for you|from you|safe|safely|back|aside|until|locked)|out of reach|some distance|distance "
    r"between|leave the room|away from (?:it|them)|go (?:somewhere|inside|home|back)|come (?:down|back|inside)|"
    r"walk away|step (?:back|away)|where you (?:can't|cannot) (?:get|reach)|keep you safe|(?:could|can|would|will|"
    r"might)~(?:{SOMEONE}|{WHOSE} {RELATIVES})~(?:keep|hold|take|store|look after|pick|have|drive)|are you safe|"
    r"(?:is|could|can) (?:anyone|someone|somebody|there)~(?:with|near|sit|stay|someone|somebody|anyone)|another "
    r"room|who (?:else )?(?:could|can|would|might) (?:come|be|sit|stay|take|keep|hold|look)|another (?:street|way|"
    r"route|room)|come over|(?:stay|sit|be) with (?:someone|somebody|people|you|me)|call (?:a|your|someone|"
    r"somebody|me|them|for)"
)
_CONCERN = (
    r"\b(?:do you (?:still )?have|have you got|is there|are there|are you (?:near|close|alone|at|on|by|still|"
    r"holding|safe)|access to|how (?:close|near|far)|where (?:is|are) the|you (?:said|mentioned|wrote|told|have|"
    r"talk\w*|hold|are (?:holding|near|on|standing))|if|when|i (?:hear|read|see)|know(?:ing)? that|thank you|sorry|"
    r"worried|having|near you|around|within reach)\b"
)
_GENTLE = (
    r"(?: (?:tonight|for now|right now|please|perhaps|gently|all|both|the|those|any|some|your|my|his|a|an|of|"
    r"leftover|old)){0,4}"
)
_SAFE_VERB = (
    r"(?:lock\w*|giv(?:e|es|en|ing)|gave|hand|hands|handed|handing|throw\w*|threw|thrown|flush\w*|toss\w*|remov\w+|"
    r"return\w*|surrender\w*|unload\w*|dispos\w+|stor(?:e|ed|ing)|lend|entrust\w*|rid|clear\w*)"
)
_MOVING_VERB = (
    r"(?:put|puts|putting|keep|keeps|keeping|kept|hold(?! of)|holds|holding|held|take|takes|taking|took|bring|move|"
    r"moved|leave|have|(?:get|gets|got)(?! (?:hold|{WHOSE} hands)))"
)
_AWAY = (
    r"\b(?:away|down(?! (?:my|your))|out of (?:reach|sight|(?:the|your|my) (?:house|home|room|way|reach|flat|car))|"
    r"to {SOMEONE}|(?:to|with) (?:an? |your |my |her |his |the |one of your )(?:{RELATIVES}|neighbou?r|pharmac\w+|"
    r"police|colleague|person|trusted)|somewhere (?:safe|else|you can't|you cannot|hard)|for (?:you|me|now|him|her|"
    r"safekeeping)|locked|safe|safely|where (?:you|i) (?:can't|cannot|can not|won't|couldn't)|from (?:you|me|him|"
    r"her|{SELF})|back to|in (?:the|a|her|his|their) (?:car|safe|locked|cabinet))\b"
)
_NEAR_TO_FAR = (
    r"(?:away|distance|back|down|off|clear|far|inside|rid)(?: (?:between you and|from|of|of that))?(?: (?:that|the|"
    r"a|an|this|your|those|any|edge|of|it)){0,6} "
)
_OUT_OF_REACH = (
    r"(?: (?:is|are|was|were|has been|have been|be|being|stay|stays))?(?: (?:now|all|both))? (?:locked|out of "
    r"reach|given away|removed|kept (?:away|safe|somewhere)|taken away|in a safe|gone|no longer|out of (?:the|your|"
    r"my) (?:house|home|room|car|way|flat))"
)
_AS_TREATMENT = (
    r"(?: (?:a|per|each|every|twice|once|in the|at)) (?:day|morning|night|evening|week|daily|dinner|breakfast)| "
    r"(?:daily|with (?:food|breakfast)|on time|regularly|as (?:prescribed|directed|needed))| for (?:my|your|his|"
    r"her|the|a|an|their)? ?(?:\w+ )?(?:thyroid|heart|blood|pain|anxiety|sleep|depression|infection|headaches?|"
    r"adhd|allerg\w+|migraines?|cold|asthma|diabetes|condition|illness|symptoms|back|stomach|ulcer)"
)
_PRESCRIBED = (
    r"(?:prescribed|prescribes|started|starting|refill\w*|changed|adjust\w*|new|side effects of|right)(?: (?:me|"
    r"you|him|her|us|on|in|the|my|your|a|some|new|of|different)){0,4} "
)


def _not_done(scan: Scan, start: int, end: int) -> bool:
    span = scan.before(start)
    return bool(compiled(_KEPT_FROM).search(scan.text, *span)) and not whole(r"\bwhy (?:not|don't)").search(
        scan.text, *span
    )


def _moved_away(scan: Scan, start: int, end: int) -> bool:
    return bool(
        compiled(rf"\b{_MOVING_VERB}\b[^.!?,]{{0,30}}$").search(scan.text, *scan.before(start, 50))
        and compiled(_AWAY).search(scan.text, *scan.after(end, 45))
    )


def _emergency(scan: Scan, start: int, end: int) -> bool:
    return scan.contains(
        "if|have you|did you|how (?:many|much)|in case|even when", *scan.sentence(start)
    ) and scan.contains(_HELP, *scan.sentence(start, 1))


def _looked_after(scan: Scan, start: int, end: int) -> bool:
    return bool(whole(_CONCERN).search(scan.text, *scan.before(start, 90))) and scan.contains(
        f"{_TO_SAFETY}|{_HELP}", *scan.sentence(start, 1)
    )


def _asked_about(scan: Scan, start: int, end: int) -> bool:
    """A question whether a means is there, which safety asks for."""
    asked = (
        r"\b(?:do you (?:still )?(?:have|keep|own)|have you (?:still )?got|(?:is|are) there|is|are|who has|where "
        r"(?:is|are) (?:the|your|it)|how (?:close|near|far))\b(?:(?!to )[^.!?]){0,25}$"
    )
    _, stop = scan.sentence(end - 1)
    is_question = scan.text[end:stop].rstrip(" \"')*").endswith("?")
    return is_question and bool(compiled(asked).search(scan.text, *scan.before(start)))


# What a helper will not say, and whom the person told.
_REFUSED = (
    r"(?:can't|cannot|won't|will not|not going to|do not|don't|never|not able to|not allowed to) (?:answer|discuss|"
    r"tell|help|say|share|talk|explain|give|name|list|describe|recommend|go into)\b[^.!?]{0,35}"
)
_TOLD = (
    r"(?:told|tell|telling|talk\w{0,3} (?:to|with)|spoke (?:to|with)|let|letting|ask|asked|asking|have|had|"
    r"having)~(?:{SOMEONE}|{WHOSE} {RELATIVES}|them|him|her)~(?:about|take|keep|hold|look after|store|lock|"
    r"have)[^.!?]{0,15}"
)
refused = before(_REFUSED)
SAFE: tuple[Guard, ...] = (
    # Alternatives of one pattern, where they look equally far: a guard is asked for every match of every rule.
    before(rf"{_REFUSED}|(?:stopped|stop|quit|paused) (?:before|at|short of)[^.!?]{{0,12}}|{_TOLD}"),
    before(
        rf"{_SAFE_VERB}(?: (?:away|out|up|over|of|in|off))?{_GENTLE} |"
        rf"(?:{_MOVING_VERB}|step|walk|come|climb|stay|please|and|to|turn) {_NEAR_TO_FAR}",
        50,
    ),
    after(_OUT_OF_REACH),
    _moved_away,
    _not_done,
    _emergency,
    _looked_after,
)
TREATMENT: tuple[Guard, ...] = (
    after(_AS_TREATMENT),
    before(_PRESCRIBED),
    within(
        r"(?:doctors?|psychiatrist|prescri\w{2,6}|pharmac\w{1,4}|therapy|treatment|side effects?|thyroid|vitamins?|"
        r"refills?|as directed|infection|blood pressure|insurance)"
    ),
)
# What speaks of everyday things, or of safety: enough where nothing else speaks of harm.
EVERYDAY: tuple[Guard, ...] = (
    _asked_about,
    within(
        rf"(?:{_TO_SAFETY}|{_CALL_HELP}|(?:call|called|calling|text|texted) (?:the|a) (?:crisis )?(?:line|hotline|"
        r"helpline)|before you (?:went|got|took|did|came))",
        1,
    ),
    within(
        r"safe|safer|safely|safety|(?:out of|within|in) reach|lock(?:ed|ing)?(?: (?:it|them|up|away|in)|$)|rid of|"
        r"away from|taken away|took (?:it|them) away|no longer|some distance|trust|thought of|called for help|"
        r"(?:do|does|did|would|will)(?: not|n't) (?:have|need) (?:it|them)|"
        r"climb\w*|kitchen|cook\w*|hunt\w*|toys?|nerf|sail\w*|camp\w*|gym|skipp?ing|swing|hammock|craft\w*|carv\w*|"
        r"shav\w*|bread|butter|dinner|movies?|film|games?|video|police|cops?|officers?|soldiers?|army|military|"
        r"shooting range|museum|tug|ladder|boat|dog|dogs|horse|knots?|knit\w*|paint\w*|garden\w*|collect\w*|school "
        r"shooting|war|gang|robb\w{1,4}|mugg\w{1,3}|threat\w*|(?:pulled|pointed|held|waved)~~(?:at|on) (?:me|you|"
        r"us|him|her|them)|fix\w*|repair\w*|built|leak\w*|landlord|rent|party|sunset|stars|album|band|song|songs|"
        r"music|in\W?laws|tourists?|photos?|view|ducks|river|playground|walk(?:ing|ed)? (?:the dog|with)|commut\w*"
    ),
)
# Where a bridge is a bridge.
OUTDOORS: tuple[Guard, ...] = (
    *EVERYDAY,
    within(
        r"came (?:back )?home|turned (?:around|back)|went (?:back )?home|walked away|relieved|proud|glad|houses?|"
        r"clinic|bus|buses|offices?|shops?|shopping|roads?|closed|dad|father|mum|mom|family|kids|childhood|child|"
        r"summer|picnic|bikes?|run|running|jog\w*|fish\w*|swim\w*|art|cats?|birds?|rain\w*|snow\w*|works?|worked|"
        r"working|lecture|loved?|lives?|living|bought|insurance|weather|built|building|workers?|contractor|cars?|"
        r"driving|drove|between|music|latest|watch\w*|fireworks|concert|festival|caf[eé]s?|soup|restaurants?|"
        r"serves?|listen\w*|sing\w*|record\w*|race|runner|coach|team|wedding"
    ),
)
