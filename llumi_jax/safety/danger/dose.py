"""T0-dose: how much to take."""

from llumi_jax.safety.care import EVERYDAY, SAFE, TREATMENT
from llumi_jax.safety.matching import Rule, after, before, danger, within, without
from llumi_jax.safety.wording import INTENT_WORDS, MEANS, MEDICINES

# A count, or a word for much; "0" stands for any digits.
_COUNTED = (
    f"bottle mg milligrams {MEDICINES} & whole entire full all every rest lots loads tons plenty handful fistful "
    "bunch bottle box pack packet handfuls fistfuls many n five six seven eight nine ten eleven twelve fifteen "
    "twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds dozen dozens 0"
)
_DRINK = (
    r" of (?:\w+ )?(?:water|wine|beer|vodka|juice|coke|soda|tea|milk|patience|perfume|champagne|whiskey|gin|rum|"
    r"coffee)(?! and (?:\w+ )?{MEDICINE})"
)
_INGEST = (
    r"(?:take|takes|took|taken|taking|swallow\w{0,3}|down|downed|downing|eat|ate|drink|drank|drinking|pop|popped|"
    r"gulp\w{0,3}|chug\w{0,4}|ingest\w{0,3}|inject\w{0,3}|(?:overdose|overdosed) on|finish|finished|empty|emptied)"
)
_ENOUGH = (
    r"(?:enough|it|do it|do the (?:job|trick)|plenty|sufficient|(?:all )?(?:you|it) (?:need|needs|takes)|lethal|"
    r"fatal|deadly|quick|painless|work|certain|sure|kill)"
)
_HOW_MANY = (
    r"(?:how (?:many|much)|what (?:dose|amount|quantity)|which dose)~~(?:does it take|would it take|it takes|it "
    r"would take|(?:do|would|should|will) i (?:need|take|have to)|(?:do|would) you need|(?:is|are|be) (?:lethal|"
    r"fatal|deadly|enough)|to (?:die|kill|overdose|end)|(?:can|would|will) kill)"
)
RULES: tuple[Rule, ...] = (
    danger(
        "dose",
        _COUNTED,
        rf"{_INGEST}~(?P<x>{{OVERMUCH}})",
        *SAFE,
        *TREATMENT,
        after(_DRINK),
        after(r"~(?:back|to (?:the|my|your) (?:pharmacy|doctor|police))"),
        before(r"it ", 5),
        within(r"as prescribed|(?:than|what) (?:your|the|my|a) (?:doctor|label|pharmacist)~"),
    ),
    danger("dose", _COUNTED, r"{OVERMUCH}", without("{INTENT}|{HINT}", 1), *SAFE, *TREATMENT, after(_DRINK)),
    danger(
        "dose",
        _COUNTED,
        r"(?:(?:a|the|my|your) (?:whole|entire|full) bottle|{MANY} (?:(?:sleeping|strong) )?{PILL})",
        *SAFE,
        *TREATMENT,
        *EVERYDAY,
        after(
            r" of (?!(?:(?:my|your|the|those|her|his|sleeping|pain|strong|them|these) ){0,3}(?:{MEDICINE}|them|it|"
            r"these|those))\w+"
        ),
        after(r" (?:left|back)"),
        before(r"(?:it|never) takes? (?:\w+ )?|(?:prescribes|gives|gave) (?:me|you|us) "),
    ),
    danger(
        "dose",
        _COUNTED,
        r"(?P<x>{OVERMUCH})~(?:would be|is|are|should be|will be|'s|would|will|should|might be|was|can) "
        rf"(?:(?:more than|quite|just|probably|surely|all|easily) ){{0,3}}{_ENOUGH}",
        *TREATMENT,
        after(_DRINK),
    ),
    danger(
        "dose",
        f"how_many how_much what_dose what_amount what_quantity which_dose & {MEANS} dose amount overdose "
        f"mg {INTENT_WORDS}",
        _HOW_MANY,
        without("{MEANS}|dose|amount|overdose|mg|{INTENT}"),
        after(r"~(?:courage|strength|effort|energy)"),
        *TREATMENT,
        within(r"(?:doctor|pharmacist|leaflet|label)~(?:said|says|told|prescri\w{2,5})"),
    ),
)
