"""T0-pact: dying together."""

from llumi_jax.safety.matching import Rule, after, before, danger, denied, reported, unless_after, within, without

_DEPART = (
    r"(?:die|dying|suicide|kill ourselves|killing ourselves|end it(?: all)?|end (?:our|my) (?:lives|life)|ending "
    r"it|leave this (?:world|life|earth)|end everything|catch the bus|overdose|jump|exit this world)"
)
_WEEKDAY = r"(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|weekend)"
_WHEN = (
    rf"(?:tonight|tomorrow|(?:on |this |next )?{_WEEKDAY}|same (?:time|night|day|moment|way)|(?:pick|set|choose|"
    r"find) a (?:date|day|time|night))"
)
_I_WILL = r"(?:i will|i'll|i would|i'd|i'm going to|i am going to|i'm|i am|i|then i|so will i|so would i|we)"
SUPPORT = within(
    r"call|text|appointment|walk|hospital|doctor|clinic|meeting|class|coffee|help|talk|session|gym|there for|show|"
    r"heartbroken|be sad|miss you|listen\w*|first step|court|shop\w*|school"
)
RULES: tuple[Rule, ...] = (
    danger(
        "pact",
        "pact pacts",
        r"(?:(?:suicide|death|die|dying|make|making|made|form|join|have|had|propose|in|want|our|a|your) (?:(?:a|"
        r"the|this|your|suicide|my|little) ){0,3})pacts?",
        denied,
        reported,
        within(r"pacts? (?:to|that)~~(?:call|text|talk|live|help|tell|eat|walk|stay)|safety pact|pacts? with {SELF}"),
    ),
    danger(
        "pact",
        "die dying suicide ourselves end ending leave overdose jump exit bus & together both same side",
        rf"{_DEPART}~~(?:together|at the same time|side by side|both of us)|both (?:want to|wanna) die~~together",
        denied,
        before(r"(?:you|they) (?:do not|don't) have to[^.!?]{0,30}"),
    ),
    danger(
        "pact",
        "together same",
        r"(?:let's|let us|we (?:(?:both|all) )?(?:could|can|should|will|might)|we'll|want to|anyone (?:here )?want "
        r"to|you and (?:me|i)|who wants to)~(?:do it|do this|go|leave|go out)~(?:together|at the same time|on the "
        rf"same|{_WHEN})",
        without(rf"{{INTENT}}|{_WHEN}|i want to go|(?:want|wants) to go|leave this world|with me"),
        SUPPORT,
        denied,
        reported,
        after(r"~(?:to (?:the|a|an|your)|with (?:help|your|a)|for (?:a|the))"),
    ),
    danger(
        "pact",
        "we us & together one side day same all alone ready both",
        r"we~(?:die|end (?:it|this|everything)|leave this|go|leave)~~(?:together|as one|side by side|hand in hand|"
        r"at once|both)|(?:one last (?:day|night)|together|side by side|you and (?:i|me))~~(?:then )?(?:we|and) "
        r"(?:both )?(?:end it|end this|die|leave this|go)(?=[.,!]|$| together)",
        SUPPORT,
        denied,
        reported,
    ),
    danger(
        "pact",
        "hand beside next pair side each same",
        rf"(?:{_DEPART}|do it|did it|leave|go)~(?:it )?(?:hand in hand|beside (?:you|me)|next to (?:you|me)|as a "
        r"(?:pair|couple|duo)|side by side|with each other|at the same (?:time|minute|hour|second|moment))",
        SUPPORT,
        denied,
    ),
    danger(
        "pact",
        "neither both two & us",
        r"(?:neither|both|two) of us~~(?:wants?|wanting)(?: to)? (?:live|die|be here|go on)",
        SUPPORT,
        reported,
    ),
    danger(
        "pact",
        "wait_for without_me & me",
        r"(?:will not|won't|don't|do not|never) (?:go|die|leave|do it) without me|wait for me~~(?:go|leave|die|"
        r"together|join|same)",
        SUPPORT,
        without(rf"{{INTENT}}|{_WHEN}|promise|together|same"),
    ),
    danger(
        "pact",
        "come & along with",
        r"(?:i can|i will|i'll|i would|i'd|let me|i could|i want to) come (?:along|with you|too)(?=[.,!]|$)",
        without("{INTENT}", 1),
        SUPPORT,
        denied,
    ),
    danger(
        "pact",
        "partner one & die dying death end",
        r"(?:your|my|a) partner in (?:this|death|it)|we die as one|die as one",
        denied,
    ),
    danger(
        "pact",
        "day date time night & set pick choose fix agree",
        r"(?:let's|let us|we (?:can|could|should|will)|{START})(?:just )?(?:set|pick|choose|fix|agree on) a (?:day|"
        r"date|time|night)~~(?:go|die|leave|do it|end|join|side by side|together)",
        SUPPORT,
        denied,
    ),
    danger(
        "pact",
        "same",
        r"(?:do it|go|jump|leave|die|end it|take (?:it|them))~(?:at|on) the same (?:time|day|night|moment|hour)",
        SUPPORT,
        denied,
    ),
    danger(
        "pact",
        "with_you with_me with_someone with_somebody & die dying suicide ourselves end ending leave overdose jump "
        "exit bus kill do_it",
        r"with (?:you|me|someone (?:here|like me)|somebody (?:here|like me))(?! (?:when|if you need))",
        unless_after(rf"(?:{_DEPART}|do it|kill myself) (?:together )?"),
        SUPPORT,
        denied,
        before(rf"(?:talk\w*|what|how|about)[^.!?]{{0,10}}(?:{_DEPART}|do it|kill myself) (?:together )?"),
    ),
    danger(
        "pact",
        "go leave & with together",
        r"(?:go|leave) with (?:you|me)(?=[.,!?]|$| (?:together|too|so|and (?:we|neither)))|go together with (?:you|"
        r"me)|(?:we|let's)~(?:go|leave) together",
        without("{INTENT}|leave this|neither|alone|this world|anyone here|go first"),
        SUPPORT,
        denied,
        reported,
    ),
    danger(
        "pact",
        "you_do you_go you_die you_jump you_kill you_end you_leave & if_you",
        r"if you (?:do it|do|go|die|jump|kill yourself|end it|leave)(?: (?:tonight|now|too|then|ever|first))?,? "
        rf"{_I_WILL} ?(?:(?:do it|go|die|kill myself|too|going|coming|with you|follow|jump|end it|also|will|would|"
        r"am|as well|you) ?){1,4}(?=[.,!?]|$| (?:and|because|too|as well|with))",
        denied,
        SUPPORT,
    ),
    danger(
        "pact",
        "follow join",
        rf"{_I_WILL} (?:(?:follow|join) you|follow|be right behind you)(?=[.,!?]|$| (?:soon|after|there|then|right))",
        without("{INTENT}|go first|pick a|(?:date|day|night)|if you go|on the other side", 1),
        SUPPORT,
        denied,
    ),
    danger(
        "pact",
        "die dying suicide ourselves end ending leave overdose jump exit bus & partner buddy someone somebody "
        "anyone anybody person who",
        r"(?:looking for|searching for|find|need|want|is there|seeking|does|would|wants?|i am|i'm)~(?:a |an "
        r")?(?:partner|buddy|someone|somebody|anyone|anybody|person)~(?:to|who|want|wants|that|would|"
        rf"for)~{_DEPART}(?: {{SELF}})?(?: (?:with|together))?",
        before(r"(?:why|if|help|know) [^.!?]{0,20}"),
        within(
            r"(?:afraid|scared) (?:of|that|to)|do not want|listen\w*|talk to|{NOBODY} (?:would|should|wants|"
            r"deserves)|lost"
        ),
    ),
)
