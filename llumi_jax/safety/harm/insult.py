"""T1-insult: words that wound."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, within

_BAD = (
    r"(?:pathetic|worthless|stupid|idiots?|morons?|losers?|cowards?|cowardly|selfish|weak|weakling|lazy|disgusting|"
    r"useless|ugly|failure|burden|attention (?:seeker|seeking|whore)|drama queen|crybaby|cry baby|whiny|joke|freak|"
    r"waste|trash|garbage|crazy|psycho|dumb|ridiculous|ungrateful|spoiled|brat|embarrassing|embarrassment|"
    r"disappointment|disgrace|bitch|pussy|snowflake|liar|manipulative|toxic|nothing|nobody|hopeless case|unlovable|"
    r"mess|childish|spineless|shameful|a shame|dirtbag|scum|parasite)"
)
_BAD_WORDS = (
    "pathetic worthless stupid idiot idiots moron morons loser losers coward cowards cowardly selfish weak "
    "weakling lazy disgusting useless ugly failure burden attention drama crybaby cry whiny joke freak waste "
    "trash garbage crazy psycho dumb ridiculous ungrateful spoiled brat embarrassing embarrassment disappointment "
    "disgrace bitch pussy snowflake liar manipulative toxic nothing nobody hopeless unlovable mess childish "
    "spineless shameful shame dirtbag scum parasite"
)
_NAMES = (
    r"(?:pathetic|idiot|moron|loser|coward|stupid|weak|disgusting|ridiculous|worthless|useless|crybaby|"
    r"embarrassing|weakling|selfish)"
)
RULES: tuple[Rule, ...] = (
    rule(
        "T1-insult",
        "baby insane mental deranged delusional",
        r"(?:stop|quit) being (?:such )?a (?:big )?(?:baby|child)|you (?:sound|are|'re|seem|must be) (?:totally |"
        r"completely |fucking )?(?:insane|deranged|delusional|mental(?! (?:health|state|illness)))|don't be "
        r"(?:such )?a (?:baby|coward|wimp)",
        denied,
        reported,
        before(r"(?:if|that|do|think) "),
    ),
    rule(
        "T1-insult",
        _BAD_WORDS,
        r"{START}(?:(?:so|how|just|utterly|what|a|an|you|absolutely|fucking|truly|such|complete|and|selfish|weak|"
        rf"stupid|little) ){{0,3}}{_NAMES}(?=[.!,]|$)",
        denied,
        reported,
        within(r"he|she|they|him|her|them"),
    ),
    rule(
        "T1-insult",
        "disgust sicken me_sick us_sick shame_on no_shame ashamed_of me_puke us_puke",
        r"you (?:disgust|sicken) (?:me|us|everyone)|you make (?:me|us) (?:sick|puke)|shame on you|have you no "
        r"shame|(?:be|you should be) ashamed of yourself",
        denied,
        reported,
    ),
    rule(
        "T1-insult",
        f"{_BAD_WORDS} & you_are you_re youre you_r",
        rf"{{YOU_ARE}} {{EXTREMELY}}{_BAD}",
        denied,
        reported,
        before(r"(?:if|when|whether|why|that|because|how|as if|as though|like|do|are|unless|even if)(?: you think)? ?"),
        after(
            r"\x27s| (?:from|with|after|to (?:be|me|us|someone|anyone|your)|but|in (?:your|his|her|their)|tired|"
            r"about|compared|when it comes|short of|more than|less|that you|wrong|else|of your|right)"
        ),
    ),
    rule(
        "T1-insult",
        f"{_BAD_WORDS} & you_sound you_look you_seem you_act",
        r"you (?:sound|look|seem|act)(?: like)? {EXTREMELY}(?:pathetic|stupid|idiot|loser|coward|selfish|weak|"
        r"ridiculous|whiny|crybaby|brat|drama queen|crazy|psycho|dumb|lazy)",
        denied,
        reported,
    ),
    rule(
        "T1-insult",
        f"{_BAD_WORDS} & what_a what_an such_a such_an you",
        r"what (?:a|an) {EXTREMELY}(?:pathetic|stupid|idiot|moron|loser|coward|selfish|disgrace|waste|crybaby|brat|"
        r"joke|freak|disappointment)(?: \w{2,12})? (?:you are|you're|you turned)|(?:you|such an?) (?:pathetic|"
        r"stupid|worthless|useless|disgusting|spoiled|lazy|dumb|selfish|whiny|weak)? ?(?:idiot|moron|loser|coward|"
        r"crybaby|brat|freak|bitch|snowflake|weakling|scum|pussy)",
        denied,
        reported,
        before(r"(?:he|she|they|who|him|that|boss|ex|was|is|are|sounds like|like)[^.!?]{0,12}"),
    ),
    rule(
        "T1-insult",
        "whining grow man grip moaning attention shut fuck screw complaining",
        r"(?:stop|quit) (?:your |the |being so |being such )?(?:whining|moaning|complaining|bitching|crying like|"
        r"seeking attention)|grow (?:up|a pair|some balls)(?=[.,!]|$| and)|get a grip|shut (?:the \w{2,6} )?up|"
        r"fuck (?:you|off)|screw you|man up",
        denied,
        reported,
        before(r"(?:i|you|we|they|he|she|who|kids|children|up|to|had to|did|told) (?:all )?"),
    ),
    rule(
        "T1-insult",
        "nobody no noone & likes cares loves wants miss love care like want",
        r"{NOBODY} (?:(?:even|really|would|will|is going to|ever) ){0,2}(?:likes|cares (?:about|for)|cares|loves|"
        r"wants|miss|love|like|want|care about) (?:you|(?:about )?your (?:drama|problems|whining|feelings|pain|"
        r"story|life)|about you|if you)(?! (?:to|hurt|in pain|gone|dead|alone|less))",
        denied,
        reported,
        within(r"(?:feel|feels|feeling|felt|think|thinks|thinking|thought|seems?|believe|like|as if|that)~{NOBODY}"),
    ),
    rule(
        "T1-insult",
        "waste",
        r"you(?:'re| are)? (?:just |such )?(?:a |an )?(?:complete |total )?waste of (?:space|air|oxygen|time|"
        r"breath|skin)",
        denied,
        reported,
    ),
)
