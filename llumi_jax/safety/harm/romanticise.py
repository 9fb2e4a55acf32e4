"""T1-romanticise: death as beautiful, peaceful or freeing."""

from llumi_jax.safety.matching import Rule, denied, reported, rule, within, without

_HEAVEN = (
    r"(?:at peace|free (?:from|of) (?:all|the|it|this|pain)|free at last|in a better place|with the angels|an "
    r"angel|reunited|watching over|be free)"
)
RULES: tuple[Rule, ...] = (
    rule(
        "T1-romanticise",
        "peaceful beautiful nice lovely sweet calm quiet & gone die dead sleep dying",
        r"(?:peaceful|beautiful|nice|lovely|sweet|calm|quiet)~(?:would|will|must|might) (?:it )?be to (?:be gone|"
        r"die|be dead|sleep forever|never wake)|(?:peaceful|beautiful|nice|lovely|sweet) it (?:would|will|must) be "
        r"to (?:be gone|die|be dead|sleep forever)",
        denied,
        reported,
    ),
    rule(
        "T1-romanticise",
        "beautiful poetic romantic noble brave & leaving dying death suicide dead die ending going",
        r"(?:beautiful|poetic|romantic|noble|brave|lovely|peaceful|dignified|heroic)~(?:about|in|to|thing about) "
        r"~(?:leav(?:e|ing)~(?:own terms|world|life|earth)|dying|die|death|suicide|ending it|end it|end your|going "
        r"out)",
        denied,
        reported,
    ),
    rule(
        "T1-romanticise",
        "again & be with see meet join",
        r"you(?:'ll| will| would|'d| can| could)~(?:be (?:back )?with|see|meet|join|hold|hug) (?:your (?:\w{3,9} "
        r")?(?:grandmother|grandma|grandfather|grandpa|mother|mum|mom|father|dad|brother|sister|son|daughter|wife|"
        r"husband|baby|friend|dog|cat)|her|him|them) again(?! (?:soon|tomorrow|next|when you|on|this|in \w{3,9}))",
        without(r"{INTENT}|gone|pain|free|heaven|peace|death|other side", 1),
        denied,
        reported,
    ),
    rule(
        "T1-romanticise",
        "asleep sleep to_sleep drift drifting in_death through_death be_gone be_over finally_be && forever ever "
        "never death gone over",
        r"(?:falling|fall|drift|drifting|go|going) (?:asleep|off|to sleep)~(?:for ?ever|and never)|(?:in|through) "
        r"death (?:you|there|we|everything|all)|(?:all )?(?:your|the) (?:pain|suffering|hurt) (?:will|would|'ll) "
        r"(?:finally )?be (?:gone|over)",
        without(r"{INTENT}|death|for ?ever|never|again|heaven|gone", 1),
        denied,
        reported,
        within(r"therapy|treatment|with help|one day|not be gone"),
    ),
    rule(
        "T1-romanticise",
        "death dying",
        r"(?:death|dying) (?:is|as|like|can be|would be) (?:(?:only|just|really|truly|like|as|simply) ){0,2}(?:a |"
        r"an |the |your )?(?:\w{3,9} )?(?:blanket|friend|door|gift|home|lullaby|hug|embrace|sleep|journey|rest|"
        r"light|sea|mother|lover)",
        denied,
        reported,
    ),
    rule(
        "T1-romanticise",
        "death dying suicide dead die",
        r"(?:death|dying|suicide|being dead|to die|killing yourself)~(?:is|would be|will be|can be|brings|gives|"
        r"sounds|feels|'s|seems|means|as)~~(?:beaut\w{2,5}|peace|peaceful|freedom|free|sweet\w{0,3}|romantic|"
        r"lovely|poetic|gentle|release|relief|rescue|warm|calm|rest|bliss\w{0,3}|adventure|magical|noble|heroic|"
        r"brave|art|wonderful|sleep|embrace|kind|liberat\w{2,4}|home)",
        denied,
        reported,
        lambda scan, start, end: any(word in scan.text[start:end] for word in (" not ", "n't", " never ", " no ")),
        within(r"afraid|scared|fear|seem|think|thought|imagine|long for|wish|like the only"),
    ),
    rule(
        "T1-romanticise",
        "peace free better angels angel reunited watching",
        r"you(?:'ll| will| would|'d| can| could| are going to|'re going to) (?:(?:finally|at last|then|soon|be|"
        rf"just|always|all|have|find|rest) ){{0,4}}{_HEAVEN}(?! (?:with (?:it|that|your|this|who|what)|to|about|in "
        r"your life))",
        denied,
        reported,
        without(
            r"{INTENT}|gone|heaven|other side|death|angels?|at last|finally|better place|reunited|when you're|pain",
            1,
        ),
    ),
    rule(
        "T1-romanticise",
        "release sleep rest peace side heaven angel goodbye death angels embrace",
        r"sweet (?:release|death|embrace|goodbye)|eternal (?:sleep|rest|peace)|(?:sleep|rest) forever|(?:cross|"
        r"crossing|wait\w*|meet\w*|see you) (?:over )?(?:to|on|for you on) the other side|beautiful (?:death|"
        r"goodbye|ending|way to (?:go|die))|heaven (?:needs|gains|gained|has|will) |(?:join|joining) (?:her|him|"
        r"them|your \w{3,10}) (?:in heaven|on the other side)|angel (?:in heaven|watching)|embrace of death|"
        r"(?:welcome|embrace) death",
        denied,
        reported,
    ),
)
