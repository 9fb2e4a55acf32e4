"""T1-stop-medication and T1-dosing: playing the doctor with medicines."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, within, without
from llumi_jax.safety.wording import MEDICINES

_OFF = (
    r"(?:(?:stop|stopping|quit|ditch|drop|dump|get off|getting off|come off|go off|going off|toss|cut out|give up|"
    r"cease|leave off|go cold turkey (?:on|off)|get rid of|throw (?:away|out)|flush|bin|wean (?:yourself )?off)(?: "
    r"(?:taking|using))?)"
)
_DRUGS = (
    r"(?:meds?|medications?|medicines?|anti\W?depressants?|ssris?|pills|tablets|drugs|prescriptions?|mood "
    r"stabili[sz]ers?|anti\W?psychotics?|lithium|benzos)"
)
_WHOSE = (
    r"(?: (?:of|with|on|all|those|these|that|the|your|any|it|them|this|every|psych|psychiatric|stupid|damn|anxiety|"
    r"depression)){0,3}"
)
_ASK_FIRST = within(
    r"(?:talk\w*|speak\w*|ask|asking|check\w*|tell|see|call|consult\w*|discuss\w*|work|first|advice)~~(?:doctors?|"
    r"prescriber|pharmacist|psychiatrist|gp|physician|provider|nurse)|(?:doctor|prescriber|pharmacist|psychiatrist|"
    r"gp|physician|provider|nurse|you both)s?~~(?:can|could|may|might|will|would|decide|tell|help|said|advised|"
    r"told|knows?|agree)",
    1,
)
_THINKING = before(
    r"(?:if|when|before|only|whether|thinking (?:of|about)|want\w* to|decided? to|considering|how to|suddenly|"
    r"people who|tempted to|why|after|did you|have you|are you|you were|dangerous to|safe to|that you|not|to just|"
    r"help you|since you|you'd like to|i|we|he|she|they)(?: (?:you|just|ever|to|suddenly|abruptly|had|have)){0,6} "
)
_STOPPING: tuple[Rule, ...] = (
    rule(
        "T1-stop-medication",
        "throw flush toss bin chuck dump & meds medication medications medicine antidepressants antidepressant "
        "prescription",
        r"(?:throw|flush|toss|chuck|dump)(?: (?:all|the|those|your|these|that|of|out|away)){0,4} (?:meds|"
        r"medications?|medicine|antidepressants?|prescription)~(?:away|out|down|in the)?",
        denied,
        reported,
        _ASK_FIRST,
        _THINKING,
        within(r"leftover|expired|old|unused|spare|safe"),
    ),
    rule(
        "T1-stop-medication",
        "meds medication medications medicine antidepressants pills tablets drugs & weak away trust poison "
        "brainwash crutch",
        rf"{_DRUGS} (?:is|are) (?:only |just |all )?(?:for (?:the )?(?:weak|crazy)|a (?:scam|crutch|lie|trap)|"
        r"poison|evil|bad for you|useless|a waste)",
        denied,
        reported,
        _ASK_FIRST,
        before(r"(?:if|whether|that) "),
    ),
    rule(
        "T1-stop-medication",
        "meds medication medications medicine antidepressants pills tablets them drugs & take touch trust use "
        "start swallow",
        r"(?:i (?:would not|wouldn't|would never)|(?:{START}|please |just |so )(?:do not|don't|never)) (?:take|"
        rf"touch|trust|start|swallow|use)(?: (?:the|those|these|that|your|any|all|of)){{0,6}} (?:{_DRUGS}|them)(?! "
        r"(?:with|without|all|at once|too|for granted|together|more|on an|lightly|personally|if you (?:have|"
        r"drink)))",
        without(_DRUGS),
        reported,
        _ASK_FIRST,
        after(r" (?:all|with|without|at once|more|away|if)"),
    ),
    rule(
        "T1-stop-medication",
        "med meds medication medications medicine medicines antidepressant antidepressants depressants ssri ssris "
        "prescription prescriptions antipsychotics psychotics lithium benzos drugs stabilizers stabilisers",
        rf"{_OFF}{_WHOSE} {_DRUGS}",
        denied,
        reported,
        _ASK_FIRST,
        _THINKING,
        after(r" (?:and alcohol|or alcohol|in (?:the )?(?:toilet|sink) if)"),
    ),
    rule(
        "T1-stop-medication",
        "pills tablets & stop quit stopping come go get",
        rf"(?:stop|quit|stopping|come off|go off|get off)(?: taking| using)?{_WHOSE} (?:pills|tablets)",
        denied,
        reported,
        _ASK_FIRST,
        _THINKING,
    ),
    rule(
        "T1-stop-medication",
        "stop quit stopping",
        r"(?:stop|quit|stopping) taking (?:them|it|those)",
        without(_DRUGS, 1),
        denied,
        reported,
        _ASK_FIRST,
        _THINKING,
    ),
    rule(
        "T1-stop-medication",
        "need require & " + MEDICINES,
        r"you (?:do not|don't|never) (?:really |actually |even )?(?:need|require)(?: (?:those|any|the|your|these|"
        r"that|all|of)){0,6} (?:meds?|medications?|medicine|antidepressants?|pills|tablets|drugs)(?! (?:to (?:fix|"
        r"be|talk)|if))",
        reported,
        _ASK_FIRST,
        before(r"(?:if|whether|that) "),
    ),
    rule(
        "T1-stop-medication",
        "stopped quit came & better happier free clearer alive",
        rf"i (?:stopped|quit|came off|went off|threw)~{_DRUGS}~~(?:better|happier|free|clearer|alive)",
    ),
    rule(
        "T1-stop-medication",
        "poison scam zombie worse numb better & " + MEDICINES,
        rf"{_DRUGS} (?:only |just |will |are |do |really |all ){{0,6}}(?:make (?:it|you|things|everything|people) "
        rf"(?:worse|a zombie|numb)|poison|a scam|useless|for the weak|turn you)|better off without{_WHOSE} {_DRUGS}",
        denied,
        reported,
        _ASK_FIRST,
        before(r"(?:if|whether|some) ?"),
    ),
)
_DOSING: tuple[Rule, ...] = (
    rule(
        "T1-dosing",
        "a_day at_night twice & take try have need taking",
        r"(?:take|try|taking|have|need) (?:(?:maybe|just|about|at least) )?{NUMBER}(?: (?:of (?:them|those)|"
        r"instead))? (?:a day|at night|twice|every (?:day|night))(?: instead)?",
        denied,
        reported,
        _ASK_FIRST,
        before(
            r"(?:i|you|he|she|they|we|to|did|do)(?: (?:had to|usually|would|always|still))? ",
            20,
            unless=r"(?:need|have|try|want you|could|should) to |should ",
        ),
        without(r"{MEDICINE}|dose|mg|them|those|instead", 1),
    ),
    rule(
        "T1-dosing",
        "dose half higher lower double twice instead & take taking try ask have",
        r"(?:take|try|ask for|go for|have)~(?:(?:two|three|four|one|half|double|twice)~(?:instead of|rather than|"
        r"of (?:your|the|a) dose|not one|as much|the dose)|(?:a |the )?(?:higher|lower|bigger|smaller|double|half|"
        r"extra|second) dose|half of (?:your|the|a) (?:dose|pill|tablet))",
        denied,
        reported,
        _ASK_FIRST,
        before(
            r"(?:i|you|he|she|they|we|to|did|do)(?: (?:had to|usually|would|always))? ",
            20,
            unless=r"(?:need|have|try|want you|could) to ",
        ),
    ),
    rule(
        "T1-dosing",
        "mg milligrams mcg",
        r"\d{1,4} ?(?:mg|milligrams|mcg)~(?:should|would|will|is|ought to|might|could)~(?:fine|enough|better|right|"
        r"good|help|ok|okay|safe|plenty|do|best)|(?:ask for|need|get|want|up to|switch to|go up to|be on) (?:at "
        r"least |about )?\d{1,4} ?(?:mg|milligrams|mcg)",
        denied,
        reported,
        before(r"(?:i|he|she|they|doctor|prescribed)(?: \w{2,9}){0,2} "),
    ),
    rule(
        "T1-dosing",
        "dose doses dosage mg medication meds milligrams",
        r"(?:double|doubling|triple|increase|raise|up|lower|halve|reduce|cut|adjust|skip|change|split|taper)(?: "
        r"(?:up|down|on|back))?(?: (?:your|the|that|a|any|this|every|one|second|next|daily|evening|morning|"
        r"of)){0,6} (?:dose|doses|dosage|meds|medication|mg|milligrams)",
        denied,
        reported,
        _ASK_FIRST,
        _THINKING,
        before(r"(?:doctors?|psychiatrist|prescriber|gp|pharmacist|they|she|he|nurse|clinic)\b[^.!?]{0,30}"),
    ),
    rule(
        "T1-dosing",
        f"mg milligrams mcg ml dose {MEDICINES}",
        r"(?:take|taking|try|start(?: with| on)?|go (?:up|down) to|stick to|add)(?: (?:taking|about|around|maybe|"
        r"only|just|up to|at least|with|using|an|a)){0,6} (?:{NUMBER}|extra|another|more|\d{1,4} ?(?:mg|mcg|"
        r"ml))(?: (?:extra|more|another|of|or|to|two|three|four|{NUMBER})){0,6}[^\w.!?]{0,3}(?:mg|milligrams|mcg|"
        r"ml|tablets?|pills?|capsules?|doses?)",
        denied,
        reported,
        _ASK_FIRST,
        before(
            r"\b(?:i|i'm|i am|i have to|i used to|i was|she|he|they|we|it|did you|do you|you)(?: (?:had to|have to|"
            r"used to|would|usually|still|always|already))? "
        ),
        within(r"as (?:prescribed|directed)|prescribed|doctor|pharmacist|label|leaflet"),
    ),
)

RULES: tuple[Rule, ...] = (*_STOPPING, *_DOSING)
