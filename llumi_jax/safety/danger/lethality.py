"""T0-lethality: how deadly, quick or painless a way to die is."""

from llumi_jax.safety.care import SAFE, refused
from llumi_jax.safety.matching import Rule, before, danger, unless_after, within, without
from llumi_jax.safety.wording import DEADLY, HARD_MEANS, MEANS

_EXTREME = (
    r"(?:painless(?:ly)?|lethal(?:ly|ity)?|deadly|fatal(?:ly)?|foolproof|surefire|(?:certain|sure|guaranteed|"
    r"bound) to (?:work|kill|succeed))"
)
# What else can be deadly, painless or certain to work.
_OTHERWISE = within(
    r"disease|illness|disorder|cancer|virus|accident|anorexia|allerg\w{1,3}|infection|crash|condition|untreated|"
    r"heat|surgery|injections?|vaccine|dentist|procedure|recipe|breakup|divorce|transition|flaw|skill|exercise|"
    r"therapy|treatment|app|medication|coping|combination of|war|blow"
)
_BEST = (
    r"(?:quick(?:est|er)?|fast(?:est|er)?|easy|easiest|easier|surest|certain|reliable|effective|best|peaceful|"
    r"clean(?:est|er)?|gentlest|simplest|painless|lethal|deadly|fatal|most \w{4,12})"
)
_TO_DIE = (
    r"(?:to (?:die|go(?! (?:to|home|about|through|from|back|on|for|forward|out))|do it|kill {SELF}|end (?:it|my|"
    r"your|everything|things)|leave this (?:world|life))|of (?:dying|ending|killing|suicide)|out(?! of (?:this|the|"
    r"that|my|your|it|debt|a)))"
)
_NO_HOPE = (
    r"(?:(?:{NOBODY}|few|hardly anyone|most people|people|you|you'll|i'll|i)~(?:survive|survives|survived|come "
    r"back from)|(?:not|never|{NT}) (?:even )?(?:feel (?:a thing|anything|any pain|much|it)|hurt(?: at all)?(?! "
    r"(?:to|my|your|them|him|her|anyone)))|no pain|over (?:with)?~(?:in|within) (?:(?:a|few|couple|of|only|just|"
    r"some) ){0,3}(?:seconds|minutes|moments|no time|an instant)|works? every time|never fails|always works|"
    r"(?:would|will|'ll) (?:definitely|surely|certainly) (?:work|kill)|no (?:chance|way) (?:of|to) surviv\w{1,3}|"
    r"(?:success|survival|failure|fatality) rate|certain death|(?:quick|fast) and (?:easy|clean)|(?:fall|falling|"
    r"drift|drifting) (?:asleep|off)|before you (?:know|notice|realise|realize|feel))"
)
RULES: tuple[Rule, ...] = (
    danger(
        "lethality",
        "painless painlessly lethal lethally lethality deadly fatal fatally foolproof surefire certain sure "
        "guaranteed bound",
        _EXTREME,
        _OTHERWISE,
        refused,
        before(
            r"(?:no|any|(?:not|never|isn't|nothing|hardly|nowhere|far from|won't tell|not tell|not say)(?:~(?:a|is|"
            r"about|be|being|so|what|which|really|exactly))?) ",
            unless=r"(?:why not|not only) ",
        ),
    ),
    danger(
        "lethality",
        "way_to ways_to method_to methods_to option_to exit_to way_of ways_of method_of methods_of way_out "
        "ways_out way_for ways_for way_there method_for",
        rf"(?:way|ways|method|methods|option|exit) (?:(?:for you|there is) )?{_TO_DIE}",
        unless_after(rf"{_BEST}(?: (?:and|or) \w{{3,12}}| \w{{3,12}})? "),
        before(rf"(?:no|not an?|never an?|isn't an?) (?:really )?{_BEST}(?: (?:and|or) \w{{3,12}}| \w{{3,12}})? "),
    ),
    danger(
        "lethality",
        "which_way what_way which_ways what_ways which_method what_method which_methods what_methods which_of "
        "what_is what_s whats what_are what_would which_is",
        r"(?:which|what)~(?:way|ways|method|methods)~(?:is|are|would be|works)~(?:quick\w{0,3}|fast\w{0,3}|easiest|"
        r"best|sure\w{0,3}|painless)",
        without("{INTENT}|{MEANS}", 1),
    ),
    danger(
        "lethality",
        HARD_MEANS,
        r"(?P<x>{HARD}~(?:is|are|'s|would be|will be|would|will|was|did|does|do|works?|worked|can) (?:(?:much|a|"
        rf"the|so|very|really|far|also|just|always|nearly|almost|be|all|over) ){{0,3}}(?:{_BEST}|sure|enough|it|"
        r"instant|work|works|worked|the (?:job|trick)|over|better|kill))",
        *SAFE,
    ),
    danger(
        "lethality",
        MEANS,
        r"{MEANS}~(?:nearly |almost |rarely |hardly |never |always )?(?:worked|works|would work|will work|did the "
        r"(?:job|trick)|will do it|does it|would do it|is what ends it|fails?)",
        without("{INTENT}|{HINT}", 1),
    ),
    danger(
        "lethality",
        DEADLY + " & feel survive survives survived back seconds minutes moments time instant works work fails "
        "kill surviving survival rate death easy clean hurt pain asleep off before",
        _NO_HOPE,
        without(
            r"{MEANS}|{PLACE}|{OVERMUCH}|overdose|jump\w{0,3}|kill {SELF}|suicide|dead|to die|will die|dying|never "
            r"wake up|not wake up"
        ),
        before(r"(?:if|hope|survivors?|those who|people who|who|when)[^.!?]{0,15}"),
    ),
    danger(
        "lethality",
        "enough",
        r"(?:(?:high|tall|long|deep|strong|sharp|far) )?enough to (?:kill|die|end (?:it|you|me|your|my)|finish|be "
        r"fatal|do it)",
        before(r"(?:bad|brave|desperate|sad|low|hurt|hopeless|tired|ill|old|awful|down|mad|angry)(?:ly)? "),
    ),
    danger(
        "lethality",
        "kill kills",
        r"kills? (?:you|me|someone|somebody|a (?:person|man|woman|grown\w*)|an adult)~(?:instantly|quickly|fast|in "
        r"(?:minutes|seconds)|within|for sure|painlessly|straight away|right away)",
    ),
)
