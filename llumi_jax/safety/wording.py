"""How the rules are written: English with a few signs, so that a pattern reads like the sentence it looks for.

In a pattern
  * a space stands for one to four characters that are neither letters nor the end of a sentence ("kill *yourself*"),
  * `~` for a gap of at most 15 characters between two words, `~~` for one of at most 45, inside one sentence,
  * `'` for an apostrophe that may be left out,
  * `{NAME}` for a block of `BLOCKS`,
and the match begins and ends at a word's edge. Gaps are bounded and blocks never repeat what repeats, so that the
time is linear in the text. Patterns are compiled when they are first used.
"""

import functools
import re

_NAME = re.compile(r"\{([A-Z_]+)\}")
_SPACE = r"(?:[^\w.!?\[\]]{1,4})"  # a group, so that it may be made optional
_SHORT_GAP = r"\b[^.!?\n\[\]]{0,15}?\b"
_LONG_GAP = r"\b[^.!?\n\[\]]{0,45}?\b"

# Words, as sets for the gate and as alternatives for the patterns.
HARD_MEANS = (
    "rope ropes noose gun guns pistol rifle shotgun revolver firearm firearms handgun blade blades razor razors "
    "bullet bullets knife knives razorblade razorblades"
)
PILLS = "pill pills tablet tablets capsule capsules painkiller painkillers"
MEDICINES = f"{PILLS} med meds medication medications medicine medicines antidepressant antidepressants drug drugs"
SOFT_MEANS = f"{MEDICINES} poison bleach gas fumes exhaust chemicals belt cord scissors"
MEANS = f"{HARD_MEANS} {SOFT_MEANS}"
PLACES = "bridge bridges roof rooftop roofs tracks railway cliff cliffs overpass balcony ledge tower"
# One of these stands near every finding of T0 that needs an intent beside it.
DEADLY = f"{MEANS} {PLACES} bottle overdose jump jumped jumping kill kills killing killed suicide dead die dying wake"
# Words that a disguised sentence needs besides those that the rules look for.
COMMON = (
    "you your yourself myself himself herself them they the and for with just want wanna to do it of me my in on "
    "is be are was not need take use then will would should could have has how many until this that together all "
    "what when where"
)


def _pairs(firsts: str, seconds: str) -> str:
    """'a b', 'c d' -> 'a_c a_d b_c b_d': each of the first words next to each of the second ones."""
    return " ".join(f"{first}_{second}" for first in firsts.split() for second in seconds.split())


# Words (and pairs) of which one stands in every match of INTENT.
INTENT_WORDS = " ".join(
    (
        "kill kills killing killed suicide suicidal die dying dead gone hurt hurting harm harming harmed harms injure",
        "finish cut cutting shoot hang stab burn poison exist alive goodbye attempt attempted attempts urge urges",
        _pairs("my your own his her their our", "life lives"),
        _pairs("end ends ended ending", "it my your his her their our everything things the this all"),
        _pairs("off", "myself yourself himself herself themselves my your her him them"),
        _pairs("be is it s all really finally this", "over"),
        _pairs("last final", "night day"),
        "wake_up waking_up woken_up way_out way_to bleed_out bleeding_out bleed_to done_with finished_with over_with",
        "to_stop to_end to_live not_live t_live want_live wanna_live be_here be_around go_on keep_going do_this",
        "cannot_live do_it doing_it through_with come_back be_back",
    )
)


def alternatives(words: str) -> str:
    """'a b c' -> '(?:a|b|c)'."""
    return f"(?:{'|'.join(words.split())})"


BLOCKS = {
    "HARD": alternatives(HARD_MEANS),
    "PILL": r"(?:pills?|tablets?|capsules?|painkillers?)",
    "MEDICINE": alternatives(MEDICINES),
    "MEANS": alternatives(HARD_MEANS + " " + SOFT_MEANS),
    "PLACE": alternatives(PLACES),
    "SELF": r"(?:my|your|him|her|them|our|one)\W?sel(?:f|ves)",
    "WHOSE": r"(?:my|your|his|her|their|our|the|this|that|a)",
    "SOMEONE": r"(?:someone|somebody|a friend|friends?|a neighbou?r|anyone|a relative|a person|staff|the police|"
    r"police)",
    "RELATIVES": r"(?:parents|mum|mom|mother|dad|father|family|friends?|roommates?|flatmates?|wife|husband|partner|"
    r"kids|children|child|son|daughter|sister|brother|siblings?|grandma|grandmother|therapist|teacher|"
    r"teachers|doctors?|counsell?ors?|nurses?|boyfriend|girlfriend|folks|loved ones)",
    "NOBODY": r"(?:nobody|no one|noone|none of them)",
    "NT": r"(?:do|does|did|is|are|was|were|wo|would|should|could|ca|have|has|had|ai)n't",
    "YOU_ARE": r"you(?:'re| are| r)",
    "EXTREMELY": r"(?:(?:just|really|so|such|very|a|an|the|simply|only|honestly|clearly|obviously|probably|"
    r"definitely|literally|actually|truly|fucking|too|being|pretty|quite|always|still|as|all|one|big|"
    r"little|total|totally|complete|completely|absolute|absolutely|real|most|more|nothing|but|kind|"
    r"sort|of|damn|utterly|plain) ){0,5}",
    "NUMBER": r"(?:\d{1,4}|n|half|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|"
    r"forty|fifty|sixty|hundred|dozens?|hundreds|a dozen|a hundred|a couple(?: of)?|several)",
    "MANY": r"(?:[1-9]\d{1,3}|[5-9]|n|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    r"fifty|sixty|seventy|eighty|ninety|hundred|dozens?|hundreds)",
    "CONDITION": r"(?:(?:clinical |major |severe |postpartum )?depression|depressive disorder|clinically depressed|"
    r"depressed|bipolar|manic depressive|borderline|bpd|c?ptsd|adhd|ocd|autis(?:m|tic)|"
    r"schizophreni[ac]|psychosis|psychotic|anxiety disorder|social anxiety|eating disorder|"
    r"anorexi[ac]|bulimi[ac]|narcissis\w{1,5}|npd|dissociative \w{1,12}|personality disorder|mental "
    r"illness|mentally ill|panic disorder|dysthymia)",
}

BLOCKS["START"] = r"(?:^|(?<=[.!?,;:\n\"]))\W{0,3}"  # of a sentence or of a part of one
# An order, or an offer: what the reader is to do, not what the reader did.
BLOCKS["DO"] = (
    r"(?:{START}(?:and |then |so )?|just |then |and |or |please |always |simply |better |first |go |now |well |you "
    r"(?:could|can|should|might|need to|have to|must|may|will|'ll) (?:just |always |simply )?|how (?:do|can|could|"
    r"should) i |i (?:could|can|should|will|need to|have to) |come on |lol |ok |okay |try to )"
)
# What says that somebody is to die or to be hurt.
BLOCKS["INTENT"] = (
    r"(?:kill(?:ing|ed|s)? {SELF}|kills? (?:me|you|us|people|someone|somebody|a|an)|suicid(?:e|al)|(?:take|takes|"
    r"took|taking|taken) (?:my|your|his|her|their|our) (?:own )?(?:life|lives)|(?:end|ends|ended|ending) (?:it|my|"
    r"your|his|her|their|our|everything|things|the pain|this|all)|(?:to|and|will|would|could|can|might|should|i'll|"
    r"you'll|i'd|you'd|just|me|people|they|you) die|die (?:by|from|of|with)|dying|(?:be|am|are|is|i'm|you're|was|"
    r"better off) (?:dead|gone)|(?:not|never|{NT}) (?:ever )?(?:wake|waking|woken) up|way out|way to (?:go|die)|"
    r"off {SELF}|(?:hurt|hurting|harm|harming|harmed|injure|finish|cut|cutting|shoot|hang|stab|burn|poison) {SELF}|"
    r"finish (?:it|this)|want (?:it|this) over|(?:{NT}|not) (?:come|be) back|never (?:come|be) back|attempted|"
    r"(?:the|last|final) attempt|self\W?harm\w*|bleed(?:ing)? out|(?:done|finished) with (?:it|life|living|"
    r"everything)|(?:be|is|it's|all|really|finally) over(?! (?:there|here|now that|the|to|a|by|it|him|her))|(?:it|"
    r"this|everything) (?:all )?(?:to be over|to stop|to end|over with)|(?:{NT}|not|never) (?:want|wanna|have|"
    r"need)(?: to)? (?:live|be here|exist|be alive|be around|wake up|go on)|(?:can't|cannot) (?:live|go on|keep "
    r"going|do this)|no reason to live|goodbye note|(?:my|your|his|her) (?:last|final) (?:attempt|night|day)|(?:my|"
    r"your|his|her|an|first|second|previous) attempt|do(?:ing)? it(?= (?:with|by|using|from|at|on|tonight|when|"
    r"alone|so|then|quick\w{0,3}|for)|[.,!]|$)|go(?:ing)? through with (?:it|this)|the urge|urges|to be dead|being "
    r"dead|bleed to death)"
)
# What says so only beside a means, a dose or a place.
BLOCKS["HINT"] = (
    r"(?:tonight|goodbye|farewell|letters?|note|quiet room|lock~door|alone|asleep|midnight|after dark|(?:my|one|"
    r"the|best|another|that) (?:way|method|option|answer|plan|spot|choice|exit)|decided|for good|forever|once and "
    r"for all|lol|finally|quick\w{0,3}|easy|easier|certain|sure|not come (?:back|home)|{NT} (?:think )?~come "
    r"(?:back|home)|never come (?:back|home)|one (?:last )?step|step forward|choose|edge|let go|close your eyes|"
    r"fall\w{0,3}|jump\w{0,3}|works?|worked|fail\w{0,2}|enough|trust me|looked it up|it takes|ready|final\w{0,2}|"
    r"last)"
)
# More of a medicine than anybody is told to take.
BLOCKS["OVERMUCH"] = (
    r"(?:(?:(?:the|a|my|your|his|her|an) )?(?:whole|entire|full) (?:bottle|box|pack|packet|strip|jar|supply)|"
    r"(?:all|every(?: single)?|the rest|lots|loads|tons|plenty|(?:(?:a|the) )?(?:handful|fistful|bunch|bottle|box|"
    r"pack)|handfuls|fistfuls|too many|so many)(?: of)?(?: (?:the|my|your|his|her|those|these|them|sleeping|pain|"
    r"one)){0,6} {MEDICINE}|{MANY} (?:of )?(?:(?:my|your|the|those|these|sleeping|strong) ){0,2}{MEDICINE}|\d{3,5} "
    r"?(?:mg|milligrams))"
)

# To die, in the words of those who do not say it.
LEAVE = (
    r"(?:die|go|end (?:it|this)(?: all)?|end your life|kill yourself|leave (?:this )?(?:world|life|earth)|leave us|"
    r"give up|let go|take your (?:own )?life)"
)


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compiles a pattern written as above. It is searched in normalised text."""
    while (named := _NAME.search(pattern)) is not None:
        pattern = pattern.replace(named[0], BLOCKS[named[1]])
    pattern = pattern.replace("~~", _LONG_GAP).replace("~", _SHORT_GAP)
    pattern = pattern.replace(" ", _SPACE).replace("'", "'?")
    return re.compile(pattern)


@functools.cache
def whole(pattern: str) -> re.Pattern[str]:
    """The same, ending at a word's edge."""
    return compiled(rf"(?:{pattern})(?!\w)")
