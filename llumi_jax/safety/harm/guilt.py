"""T1-guilt: guilt, sin, and what it would do to others."""

from llumi_jax.safety.matching import Rule, before, denied, reported, rule, within

_KIN = r"(?:your|the|those) (?:{RELATIVES}|dog|cat|pets?)"
RULES: tuple[Rule, ...] = (
    rule(
        "T1-guilt",
        "find repay before first want & you & your this kids sister brother mother family",
        r"do you (?:really )?want (?:your|the) (?:\w{3,8} )?{RELATIVES} to (?:find|see|bury|grieve|cry|grow up "
        r"without)|this is how you (?:repay|thank)|think (?:of|about) (?:your|the) (?:\w{3,8} )?(?:{RELATIVES}|"
        r"future) (?:before|first)",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "ruin destroy break kill wreck shatter ruining destroying breaking",
        r"(?:would|will|'d|'ll|going to|could) (?:(?:only|just|completely|totally|be) ){0,2}(?:ruin|destroy|break|"
        r"kill|wreck|shatter|ruining|destroying|breaking)~(?:your |the |their )(?:{RELATIVES}|life|lives|hearts?)",
        denied,
        reported,
        before(r"(?:he|she|they|it|that job|this job|boss|ex|afraid|worried|fear|feel|if|drinking)(?: \w{1,8}){0,3} ?"),
    ),
    rule(
        "T1-guilt",
        "passes pass passing transfers transfer spreads",
        r"(?:passes|pass|passing|transfers?|spreads?|moves?)~(?:the|your|this|all that)~(?:pain|suffering|"
        r"hurt)~(?:to|on|onto)",
        denied,
        reported,
        within(r"time|will pass"),
    ),
    rule(
        "T1-guilt",
        "gave_you no_right a_gift throw_it throw_your throw_this throw_everything throwing_it throwing_your "
        "throwing_this throwing_everything",
        r"(?:god|he|your (?:parents|mother|mum|mom)|they) gave you (?:this |your |a |everything|life|so much)|you "
        r"have no right to (?:throw|take|end|leave|do|give up|kill|waste)|life is a gift(?! (?:shop|card))|"
        r"throw(?:ing)? (?:it|your life|this life|everything)(?: all)? away",
        denied,
        reported,
        before(r"(?:feel like|afraid of|not|as if)[^.!?]{0,20}"),
    ),
    rule(
        "T1-guilt",
        "do family parents mother kids children feel hurt & care think",
        r"(?:do not|don't) you (?:even )?(?:care|think|love|realise|realize)~(?:about|of|what|how|that)?~~(?:would "
        r"do|will do|hurt|feel|destroy|{RELATIVES}|love you|pain)",
        reported,
        before(r"(?:why|what) "),
    ),
    rule(
        "T1-guilt",
        "selfish cowardly coward cowards weak & people kill suicide die leave leaving children",
        r"(?:only|just) (?:\w{3,12} )?(?:selfish|cowardly|weak|cowards?)(?: people| ones)?~(?:kill|die|do|leave|"
        r"commit|end|think)|(?:selfish|cowardly|cruel|wrong|unfair) to (?:leave|kill|die|end|abandon|do (?:this|"
        r"that) to)",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "commandment bible god religion faith immoral wrong",
        r"(?:god|the bible|your faith|religion)~(?:forbids|does not allow|doesn't allow|says~not|wouldn't want)|"
        r"(?:suicide|killing yourself|taking your life) is (?:immoral|wrong|evil|murder|a crime|illegal)",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "how_could how_can how_dare how_would",
        r"how (?:could|can|would|dare) you (?:(?:even|ever|possibly|really) ){0,2}(?:do (?:this|that|it|such a "
        r"thing|something like (?:this|that)) to (?:your|the|them|us|me|him|her)|be so selfish|put~through|leave "
        r"(?:your|them|him|her) (?:kids|children|family|behind|alone)|abandon)",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "selfish sin sinful cowardly coward cruel unforgivable shameful ungrateful",
        r"(?:suicide|killing {SELF}|ending your life|taking your (?:own )?life|dying|wanting to die|giving up|"
        r"doing (?:this|that|it)|(?:it|that|this|which)(?=[^.!?]{0,20}(?:selfish|sin|coward))) (?:(?:is|'s|would "
        r"be|will be|be|really|so|very|just|the most|incredibly|a|an|pretty|quite|such|also|always|such|thing|"
        r"nothing but|most|mortal|terrible|great|deeply) ){1,5}(?:selfish|sin|sinful|cowardly|coward's way|coward|"
        r"cruel|unforgivable|shameful|against god)",
        denied,
        reported,
        before(r"(?:not think|if|whether|why|do you think|people)[^.!?]{0,20}"),
        within(r"what (?:he|she|they)|to you|cruel (?:of|what)"),
    ),
    rule(
        "T1-guilt",
        "selfish",
        r"(?:don't|do not|stop) be(?:ing)? (?:so )?selfish|(?:selfish|cowardly) (?:of you|thing to do|way out|act|"
        r"choice)|coward's way(?: out)?",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "forgive recover blame hate suffer devastated destroyed ruined broken get_over shattered crushed "
        "heartbroken guilty guilt live_with & would will could d ll might & your the those",
        rf"{_KIN} (?:would|will|could|'d|'ll|might)~(?:never (?:forgive|get over|recover|be the same)|not "
        r"(?:forgive|recover|survive)|blame (?:you|themselves|himself|herself)|hate you|suffer|(?:be )?(?:so |"
        r"absolutely |completely )?(?:devastated|destroyed|ruined|broken|shattered|crushed|heartbroken)|have to "
        r"live with|carry (?:the|this|that) (?:guilt|pain|grief)|feel guilty)",
        denied,
        reported,
        before(r"(?:if|when|because|afraid|scared|worried|fear|think|feel like|sure)(?: \w{1,8}){0,3} "),
    ),
    rule(
        "T1-guilt",
        "think & hurt hurting feel suffer behind through destroy family kids children mother father parents",
        r"think (?:of|about) (?:what (?:it|this|that|you)(?:'d| would| will|'ll)?|how (?:much )?|everyone|"
        rf"everybody|all the people|the people|{_KIN})~~(?:hurt|hurting|do to|pain|would feel|will feel|suffer|"
        r"leave behind|put through|going through|destroy|finds? you|cry|funeral)",
        denied,
        reported,
        before(r"(?:do you|you|i|to|when you|you can|can't|not)(?: (?:still|often|always))? "),
    ),
    rule(
        "T1-guilt",
        "imagine realise realize consider picture you_know",
        r"(?:imagine|realise|realize|consider|picture|do you know) (?:what|how|the (?:pain|hurt|grief|damage|"
        r"guilt)|your (?:mother|mum|mom|kids|children|family|parents))~~(?:put(?:ting)?|do(?:ing)?|leav(?:e|ing)|"
        r"caus(?:e|ing)|find(?:ing)?|feel|standing|crying|destroy\w{0,3})~~(?:your|them|family|through|behind|body|"
        r"grave|funeral|to|if you)",
        denied,
        reported,
        before(r"(?:can|can't|cannot|could|only|to|i|hard to)(?: (?:only|hardly|barely))? "),
    ),
    rule(
        "T1-guilt",
        "hell sin god punish",
        r"(?:go|going|burn|burning|rot|end up|straight|sent) (?:to|in) hell(?! and back)|god (?:will|would|does|"
        r"'ll) (?:never |not )?(?:forgive|punish|judge|hate|reject) (?:you|suicide|that|this|people)|(?:it|that|"
        r"suicide|this)(?:'s| is) (?:(?:a|an|the|mortal|terrible|great|unforgivable|grave) ){0,3}sin",
        denied,
        reported,
        before(r"(?:i'm|i am|i'd|i was|we|through|been|if|whether|can) ?[^.!?]{0,12}"),
    ),
    rule(
        "T1-guilt",
        "owe after hurting killing passing",
        r"you owe (?:it )?to (?:your|them|us|him|her)|you owe (?:your|them|us) |after (?:all|everything) (?:i|we|"
        r"they|your \w{3,8}|that) ?~(?:did|done|do|sacrificed|gave|has done|have done) for you|you(?:'d| would|'ll|"
        r" will)(?: only| just)? be (?:killing|hurting|destroying|ruining|passing)~(?:your|them|everyone|everybody|"
        r"the pain|it on|people)|(?:would|will|'d) (?:kill|break|destroy) your (?:mother|mum|mom|father|dad|"
        r"parents|family|kids|children)",
        denied,
        reported,
    ),
    rule(
        "T1-guilt",
        "hurt",
        r"(?:everyone|all the people|people|everybody|those)(?: who (?:love|loves|care about) you)? you(?:'d| "
        r"would| will|'ll) (?:hurt|destroy|leave behind|devastate)",
        denied,
        reported,
    ),
)
