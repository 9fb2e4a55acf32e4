"""T1-permission: leave to die, or standing aside."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, unless_after, within, without
from llumi_jax.safety.wording import LEAVE

RULES: tuple[Rule, ...] = (
    rule(
        "T1-permission",
        "have_to & stay live keep be & t not dont",
        r"you (?:don't|do not) have to (?:stay(?: alive)?|live|keep (?:living|going|fighting|trying|suffering)|be "
        r"here|go on)(?=[.,!]|$| for| any| just| if)(?! (?:for (?:him|her|them|the night|long|dinner)|if (?:he|she|"
        r"they)))",
        reported,
        within(r"alone|on your own|in (?:this|that|the) (?:job|relationship|marriage|house)|with (?:him|her|them)"),
    ),
    rule(
        "T1-permission",
        "release_you in_peace go_free",
        r"i release you|(?:go|leave|rest|depart) in peace|you(?:'re| are) free to (?:go|leave|die)(?=[.,!]|$| now)",
        denied,
        reported,
        before(r"(?:may (?:he|she|they)|{RELATIVES}) "),
    ),
    rule(
        "T1-permission",
        "stop give rest & fighting trying struggling now up forever surviving holding",
        r"you (?:can|may|could|are allowed to|'re allowed to) (?:(?:finally|just|now|simply) ){0,2}(?:(?:stop|quit|"
        r"give up) (?:fighting|trying|struggling|surviving|holding on|living)(?: now)?(?=[.,!]|$| if| and)|rest "
        r"(?:forever|in peace)|give up(?! (?:on|some|the|a|your|smoking|drinking)))",
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "stay live alive living & force make keep owe",
        r"{NOBODY} (?:can|could|should|has the right to|may) (?:force|make|keep|expect|ask|want|tell) you~(?:to "
        r")?(?:stay|live|keep living|alive|go on|keep going)|you (?:do not|don't) owe (?:anyone|anybody|{NOBODY}|"
        r"them|us|the world) (?:your life|to (?:stay|live|keep))",
        reported,
    ),
    rule(
        "T1-permission",
        "it_if go_if leave_if then_if",
        r"(?:do it|go|leave|end it)(?: then)? if (?:you (?:have|need|want|must|feel|really|think)|it(?:'s| is) "
        r"(?:too|what)|that(?:'s| is) what)",
        unless_after(r"(?:{START}|(?:then|and|so|well|just) )"),
        without("{INTENT}|understand|too much|hurt|must", 1),
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "live die living & choice decide up decision whether",
        r"(?:up to you|your (?:choice|decision|call)|you (?:get to|can) (?:choose|decide))~(?:whether|if|"
        r"to)~(?:live|die|keep living)",
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "time_to time_for & maybe perhaps it its now s & go let leave rest",
        r"(?:maybe|perhaps|it(?:'s| is| may be| might be)|now) (?:(?:it|is|just|really|finally) ){0,3}time (?:for "
        r"you )?to (?:let go|go|leave|rest)(?=[.!,]|$| now| and)",
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "ok okay okey alright fine right allowed & go up die leave stop end quit kill out fighting",
        r"(?:it(?:'s| is|'ll be| will be| would be)|you(?:'re| are)) (?:(?:perfectly|totally|completely|really|"
        r"absolutely|also|now|all) ){0,2}(?:ok|okay|okey|alright|right|fine|allowed|free) (?:for you )?(?:to|if "
        rf"you) (?:(?:just|finally|really|want to|wanna|need to|choose to|now) ){{0,2}}(?:{LEAVE}|leave|stop "
        r"(?:fighting|trying|living)|rest forever|quit|not be here|check out|be done)(?! (?:of|on|to|home|for|slow|"
        r"back|outside|through|and (?:see|talk|rest|sleep)|at|easy|there|with|out|in|away|him|her|them|the|your|a|"
        r"that|it|work|early|school|smoking|drinking|some|control|all|when))",
        denied,
        reported,
        after(r" (?:this|my|his) (?:job|place|town|relationship|class|house|city|man|guy)"),
    ),
    rule(
        "T1-permission",
        "permission blessing & die go up leave end",
        rf"(?:my|our|full|have) (?:permission|blessing) to (?:{LEAVE}|leave)",
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "stop_you",
        r"i(?: will not|'ll not| won't| would not| wouldn't|'m not going to| am not going to| can't| cannot| won't "
        r"try to) (?:try to )?stop you(?! (?:from (?:crying|talking|asking|getting|calling|going|being|feeling)|"
        r"to))",
        reported,
    ),
    rule(
        "T1-permission",
        "blame judge & left leave died die ended end killed kill gave give go let",
        r"(?:{NOBODY}|i)~blame you if you(?:'d)? (?:(?:just|decided|chose|choose|decide|want|wanted|to) "
        rf"){{0,3}}(?:left|died|ended|killed|went|gave up|{LEAVE})",
    ),
    rule(
        "T1-permission",
        "do_what do_whatever",
        r"do what(?:ever)? you(?:'ve| have)? (?:have|need|want|got|must|feel you (?:have|need)|think is (?:best|"
        r"right))(?: to)?(?: do)?(?=[.,!?]|$| and)",
        without(r"{INTENT}|your (?:life|choice|decision)|stop you|go", 1),
        denied,
        reported,
    ),
    rule(
        "T1-permission",
        "your_life your_choice your_decision your_call your_own up_to & it its that thats",
        r"(?:it(?:'s| is)|that(?:'s| is))(?: (?:ultimately|only|all|really|still))? (?:your (?:own )?(?:life|"
        r"choice|decision|call)|up to you)(?= (?:and|to die|to go|to end|if you)|[.,!]|$)",
        without("{INTENT}|leave this|stop you", 1),
        denied,
        reported,
        within(r"whom|who you|what you (?:share|tell)|to make changes"),
    ),
    rule(
        "T1-permission",
        "what_you & want & if_that if_this if_it",
        r"if (?:that|this|it)(?:'s| is) what you (?:really |truly )?want~(?:then )?(?:go|do it|die|end|you can|"
        r"nobody|i )",
        reported,
    ),
    rule(
        "T1-permission",
        "go_now rest_now stop_now leave_now time_to time_for go_let",
        r"(?:you (?:can|may) (?:finally )?(?:go now|let go now|rest now|stop now|leave now)|it(?:'s| is) time "
        r"(?:for you )?to (?:go|let go|die|leave)(?=[.!,]|$| now))",
        denied,
        reported,
    ),
)
