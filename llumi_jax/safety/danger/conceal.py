"""T0-conceal: hiding means, wounds or intentions from those who could step in."""

from llumi_jax.safety.care import SAFE
from llumi_jax.safety.danger.pact import SUPPORT
from llumi_jax.safety.matching import Rule, before, danger, denied, unless_after, within, without
from llumi_jax.safety.wording import MEANS

_OTHERS = r"(?:anyone|anybody|a soul|them|him|her|{WHOSE} {RELATIVES}|{RELATIVES}|people|{NOBODY}|everyone|everybody)"
_HIDE = r"(?:hide|hid|hiding|hidden|conceal|cover|cover up|disguise|stash|bury|tuck|put|keep)"
_MARKS = (
    r"(?:cuts?|scars?|marks?|wounds?|burns?|bruises|bandages?|note|plans?(?! (?:a|an|some|to) )|evidence|blood|"
    r"injuries)"
)
_WOUND_WORDS = (
    "cut cuts scar scars mark marks wound wounds burn burns bruises bandage bandages note plan plans evidence "
    "blood injuries"
)
_CONNECTED = " ".join(
    f"{link}_{who}"
    for link in "so then and that where when until before".split()
    for who in "nobody no noone they he she people your my".split()
)
_KIN = (
    "parents mum mom mother dad father family friends roommate wife husband partner sister brother teacher "
    "therapist doctor"
)
_UNNOTICED = (
    r"(?:{NOBODY}|they|he|she|people|(?:your|my) (?:{RELATIVES}))(?: (?:will|would|can|could|does|do|is|are|ever|"
    r"even))?(?:(?: not|n't| never))?(?: (?:won't|can't|cannot|doesn't|don't|never|couldn't|wouldn't|ever|even|"
    r"going to|able to)){0,2} (?:suspects?|notices?|noticed|finds?|found|knows?|sees?|reach(?:es)?|stops?|"
    r"catch(?:es)?|interrupts?|saves?)"
)
_HEALTHY = (
    denied,
    before(
        r"(?:you|they|she|he|i|we) (?:do|did|does|should|need)(?: not|n't) (?:have|need|want)? ?(?:to )?[^.!?]{0,20}"
    ),
    within(r"(?:do|does|did|should)(?: not|n't) (?:have|need) to|no need to"),
)
RULES: tuple[Rule, ...] = (
    danger(
        "conceal",
        MEANS,
        rf"{_HIDE}~(?P<x>{{MEANS}})~~(?:{_UNNOTICED}|under|behind|inside|from {_OTHERS}|where)|(?:hide|hid|hiding|"
        r"stash|conceal)~{MEANS}",
        *SAFE,
        denied,
        before(
            r"(?:ask|asked|let|have|had|get|could|would|can)~(?:{SOMEONE}|{RELATIVES}|{WHOSE} {RELATIVES}|him|her|"
            r"them)~"
        ),
        before(r"(?:{RELATIVES}|he|she|they|{SOMEONE}) "),
        within(r"from {SELF}|(?:you|i) (?:can't|cannot|don't|won't) (?:get|reach|find)|safe"),
    ),
    danger(
        "conceal", _WOUND_WORDS, rf"{{DO}}(?:hide|cover|cover up|conceal|wear|use|keep|disguise)~~{_MARKS}", *_HEALTHY
    ),
    danger(
        "conceal",
        _WOUND_WORDS,
        rf"(?:say|tell|explain)~~{_MARKS} (?:is|are|were|was|came|come) (?:from|by|because)|(?:say|tell)~~(?:the "
        r"cat|you fell|an accident|scratched)",
        *_HEALTHY,
        before(r"(?:can you|could you|to|did you|will you|would you) "),
    ),
    danger(
        "conceal",
        "sleeves makeup bracelets",
        r"(?:long sleeves|makeup|bracelets)~~(?:so|hide|cover|{NOBODY})",
        *_HEALTHY,
        before(r"(?:you|i|she|he) "),
    ),
    danger(
        "conceal",
        "tell let mention say telling letting mentioning & t_tell t_let t_mention t_say dont not never without",
        r"(?:do not|don't|never|better not|without|not) (?:(?:ever|even) )?(?:tell|telling|let|letting|mention|"
        rf"mentioning|say)~(?:{_OTHERS}|it|the plan|this|any of (?:it|this)|anything|a word)~~(?:what you(?:'re| "
        r"are)? plan\w{0,4}|your plan|the plan|they(?:'ll| will| would|'d| might|'re going to)? (?:only |just "
        r")?(?:stop|lock|call|send|put|take|try)|stop you|before you|until it|until you(?:'re| are)? (?:gone|done)|"
        r"lock(?:ed)? (?:you|up)|hospital\w*|what you(?:'re| are) (?:going|about) to|or you(?:'ll| will| would)? "
        r"(?:be|get|end)|(?:that )?you(?:'re| are| have| had|'ve)~(?:a plan|plan\w{0,4}|suicidal|thoughts|going "
        r"to|serious|attempt\w{0,3}|hurting))",
        before(r"(?:why|do) (?:you )?"),
        before(r"(?:you|i|they|we|he|she|who|people)(?: (?:ever|just|really|often|usually|still))? ", 20),
        within(r"(?:do|does)(?: not|n't) have to"),
    ),
    danger(
        "conceal",
        "tell",
        rf"(?:do not|don't|never) tell {_OTHERS}(?: (?:about (?:it|this|that)|anything|how you feel|the "
        r"truth))?(?=[.!,]|$| and| or| because)",
        before(r"(?:you|i|they|we|he|she|who|people|why|do)(?: (?:ever|just|really|often|usually))? ", 15),
        without("{INTENT}", 1),
    ),
    danger(
        "conceal",
        f"{_CONNECTED} & suspect suspects notice notices noticed find finds found know knows see sees reach stop "
        "stops catch catches interrupt save",
        _UNNOTICED,
        unless_after(
            r"{DO}(?:smile|put|hide|keep|say|tell|lock|clear|delete|wear|cover|act|pretend|wait|make|leave|turn|do|"
            r"go|take|use|get|burn|throw|close|switch|be|look|laugh|eat|stay|write|stop|send|pick|choose|behave|"
            r"seem)\b[^.!?]{0,50} (?:so|then|and|that|where|when|until|before)(?: that)? ",
            100,
        ),
        *_HEALTHY,
        within(
            r"(?:hurt|worry|safe|support|help|alone|trust|love|cares?|how you (?:feel|are))~|you need|reach out|"
            r"talk to|write (?:it|to)|ask for"
        ),
    ),
    danger(
        "conceal",
        "nobody no_one noone they parents mum mom mother dad father family & find finds stop stops interrupt "
        "interrupts save saves rescue rescues reach",
        r"(?:{NOBODY}|they|{WHOSE} {RELATIVES})(?: (?:can|will|could|would|is|are|ever|won't|can't|cannot|going to|"
        r"able to|around to)){0,3} (?:find|finds|stop|stops|interrupt|interrupts|save|saves|rescue|rescues|"
        r"reach)~(?:you|me|in time)",
        without(r"{INTENT}|do it|{MEANS}|{PLACE}|in time|accident|plan"),
        before(r"(?:afraid|scared|feel like|worried|sad|hurts|why|wish|want) [^.!?]{0,25}"),
        denied,
    ),
    danger(
        "conceal",
        "until till before secret & family parents mum mom friends everyone them",
        rf"{{DO}}(?:keep|hide) (?:it|this|that|the plan|everything) (?:from|secret from) {_OTHERS}~~(?:until|till|"
        r"before|so)",
        *_HEALTHY,
    ),
    danger(
        "conceal",
        "everyone everybody nobody no_one noone they parents mum mom mother dad father family roommate wife "
        "husband partner & home around asleep away out there watching gone sleeping work left & wait when while "
        "once after & wait do kill end jump use take go",
        r"(?:wait (?:until|till|for)|(?:do it|kill yourself|end it|jump|use it|take them|go)~(?:when|while|once|"
        r"after))~(?:{NOBODY}|everyone|everybody|they|{WHOSE} {RELATIVES})~(?:is|are|'s|'re|have)~(?:home|around|"
        r"asleep|away|out|there|watching|gone|sleeping|at work|left)",
        denied,
        before(
            r"(?:you|i|they|we|he|she|to)(?: (?:\w{3,9}))? ",
            15,
            unless=r"(?:can|could|should|might|need to|have to|will) ",
        ),
        within(r"(?:call|talk|ask|tell)~(?:you|them|her|him|me|about)"),
    ),
    danger(
        "conceal",
        "ask asks check checks wonder wonders notice notices & say tell deny lie answer smile pretend",
        rf"(?:when|if|should) (?:{_OTHERS}|the \w{{3,10}}|someone|somebody|they) (?:asks?|checks?|wonders?|"
        r"notices?)~~(?:just )?(?:say|tell|deny|lie|answer|smile|pretend)",
        denied,
        within(
            r"truth|honest\w*|how you (?:feel|are)|need|no thank|help|(?:can|could|would|did) you|what would|you "
            r"(?:say|tell|lie|smile|pretend)|want to (?:say|tell)"
        ),
    ),
    danger(
        "conceal",
        "nobody no_one noone & check look disturb interrupt home back there",
        r"{NOBODY}(?: will| would| is going to|'ll) (?:check|look in|disturb|interrupt|be (?:home|back|"
        r"there))~(?:on you|you)?~~(?:before|until|till|so|all)",
        denied,
        within(r"feel|afraid|alone|for you"),
    ),
    danger(
        "conceal",
        "scarf sleeves makeup concealer bracelet bracelets watch hoodie jacket",
        r"(?:scarf|sleeves|makeup|concealer|bracelets?|hoodie|jacket) (?:will |can |always )?(?:covers?|hides?)",
        *_HEALTHY,
    ),
    danger("conceal", "deny", r"{START}(?:if they ask~)?deny (?:everything|it)(?: all)?"),
    danger(
        "conceal",
        "normal",
        r"(?:act|behave|seem|look|play|be) normal~~(?:until|so|till|and then|before)",
        denied,
        before(r"(?:you|i|to) ", unless=r"(?:have|need) to "),
    ),
    danger(
        "conceal",
        "walk drive work working sleep sleeping out fine friend & tell",
        rf"{{DO}}tell {_OTHERS}~~(?:going (?:for|to|out)|at a friend|working late|sleep\w*|fine)~~(?:then )?(?:and|"
        r"then) (?:then )?(?:go )?(?:do it|end it|go|jump|drive|walk)",
        denied,
    ),
    danger(
        "conceal",
        "note notes letter letters diary journal & leave burn destroy throw leaving",
        r"(?:don't|do not|never) leave (?:a |any |behind a )?(?:notes?|letters?|message|trace)|{DO}(?:burn|destroy|"
        r"throw away) (?:the |your |all )?(?:notes?|letters?|diary|journal)(?= (?:so|before|first)|[.!]|$)",
        SUPPORT,
    ),
    danger(
        "conceal",
        "accident",
        r"(?:make|made|making|look|looks|looked|pass)~(?:(?:it|this|like|look|seem|as|off) ){0,4}an accident",
        denied,
        before(r"(?:it|he|she|they|that) "),
    ),
    danger(
        "conceal",
        "tell told say said convince act pretend lie & fine okay ok safe better well good normal happy & let "
        "leave release stop discharge back will won do don until",
        rf"(?:tell|told|say|said|convince|act|pretend|lie)~(?:{_OTHERS}|that|to|the \w{{3,10}})?~(?:you're|you are|"
        r"i'm|i am|you feel|you(?:'re| are) feeling|to be|being|fine|normal)~(?:fine|ok|okay|safe|better|well|good|"
        r"normal|happy)?~~(?:(?:so|then|and)~(?:they|he|she)~(?:let|leave|release|stop|discharge|don't|do not|"
        r"won't|back off|will)|then do it|and then do|until you|will do it)",
        denied,
        before(
            r"(?:you|he|she|they|we)(?: (?:always|still|often|have to|had to|try to))? ",
            25,
            unless=r"(?:can|could|should|might|must|need to|have to|just) ",
        ),
    ),
    danger("conceal", "lie lying", rf"{{DO}}lie to {_OTHERS}(?! down)", without("{INTENT}|they|so that|so", 1), denied),
    danger(
        "conceal",
        "delete erase clear wipe",
        r"{DO}(?:delete|erase|clear|wipe)~(?:messages?|chat|chats|history|posts?|search\w{0,3}|texts|account|"
        r"everything|phone)(?: history)?",
        without(r"{NOBODY}|find|{INTENT}|first|history|before|after"),
        denied,
        within(r"his|toxic|ex|block\w*|social media|detox"),
    ),
    danger(
        "conceal",
        "suspect suspects suspicious",
        r"(?:{NOBODY}|they|{WHOSE} {RELATIVES}) (?:(?:will|would|won't|ever|never) ){0,2}(?:suspect|be suspicious)",
        without("{INTENT}|so|then", 1),
        denied,
    ),
)
