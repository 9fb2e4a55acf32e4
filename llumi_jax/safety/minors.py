"""Whether somebody says of themselves that they are under 18."""

from llumi_jax.safety.matching import Rule, after, before, rule

_TEENS = r"(?:1[0-7]|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
_AGE = r"(?:[5-9]|1[0-7]|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
_YEARS = r"(?:years? (?:old|of age)|yrs? old|year\W?olds?|yr\W?old|y/?o|y\.o\.?|years young)"
_I_AM = (
    r"(?:i(?:'m| am)(?: (?:only|just|a|still|currently|about to turn|turning|barely|like|almost|nearly|now|about "
    r"to be|literally|actually)){0,3}|i (?:just |recently )?turned|i(?:'ll| will) be|i turn|i(?:'m| am) turning|my "
    r"age is|age:?)"
)
# What is counted after the number when it is no age.
_OTHER = (
    r"(?! ?(?:%|/|:\d|\.\d|\x27\d|\"|,\d)|[\W_]{0,3}(?:weeks?|wks?|months?|mos?|days?|hours?|hrs?|minutes?|mins?|"
    r"seconds?|years? (?!old\b|of age|young)|yrs? (?!old\b)|lbs?|pounds|kgs?|kilos?|kg|miles?|km|percent|times|"
    r"steps|pages|people|of|or|out|in a row|th|pm|am|credits?|episodes|points?|grand|k|feet|ft|inches|cm|stone|"
    r"minus|plus|\d|years?$|years?[.,!?]))"
)
_OTHERS = (
    r"(?:daughter|son|sister|brother|kid|kids|child|children|niece|nephew|cousin|boyfriend|girlfriend|friend|"
    r"student|stepson|stepdaughter|bf|gf|grandson|granddaughter|he|she|they|girl|boy|teen|who|mother|mom|mum|dad|"
    r"father|cat|dog|twins?|ex|patient)"
)
_PAST = before(
    r"(?:when|while|since|until|till|before|after|at|was|were|from|once|back|ever since|if|like|felt|feel like|as "
    r"though)(?: (?:i was|i'm|i am|age|the age of|about|around))? ?",
    30,
)
_SCHOOL = (
    r"(?:(?:freshman|sophomore|junior|senior) (?:in|at) (?:high ?school|hs)|(?:in|at|attend|attending|start|"
    r"starting) (?:(?:the|my) )?(?:(?:6|7|8|9|10|11|12)th|sixth|seventh|eighth|ninth|tenth|eleventh) grade|(?:6|7|"
    r"8|9|10|11)th grader?|(?:sixth|seventh|eighth|ninth|tenth|eleventh) grader?|middle school(?:er)?|high "
    r"?school(?:er| student| freshman| sophomore| junior)|in high ?school|in middle school|year (?:7|8|9|10|11) "
    r"(?:student|at school|in school)|in year (?:7|8|9|10|11)(?! of)|secondary school (?:student|pupil)|high "
    r"?school)"
)
_NOW = r"(?:i(?:'m| am)(?: (?:a|an|only|just|still|currently|now|in my)){0,3}|as an? )"
_WORDS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen old yo y o am m i turned age year years f "
    "grade grader school high middle freshman sophomore junior minor underage under teen teenager turning turn"
)

RULES: tuple[Rule, ...] = (
    rule(
        "minor",
        _WORDS,
        rf"{_I_AM} {_TEENS}(?: ?(?:[mf]|and a half|{_YEARS}))?{_OTHER}",
        _PAST,
        before(r"(?:feel|feeling|act|look|say|told|think|thinks|said|says|pretend\w*)~", 18),
    ),
    rule("minor", _WORDS, rf"{_I_AM} (?:{_AGE}) ?{_YEARS}", _PAST),
    rule(
        "minor",
        _WORDS,
        rf"(?:as|being|i(?:'m| am)|just) an? (?:\w{{3,10}} )?{_AGE}\W?{_YEARS}(?! (?:daughter|son|kid|child|"
        r"marriage|relationship|car|house|dog|cat|boy who|brother|sister|student of))(?![^.!?]{0,12} i (?:was|"
        r"had|did|would))",
        _PAST,
        before(r"(?:i have|treat\w* me|sees me|feel|mother of|father of|parent of|dad of|mom of) ?"),
    ),
    rule(
        "minor",
        "f m nb ftm mtf",
        r"(?:{START}|(?:i|me|hi|hello|hey|here) (?:i |me )?)[(\[]?(?:(?:1[0-7]) ?(?:f|m|nb|ftm|mtf)|(?:f|m|"
        r"nb)/?(?:1[0-7]))(?! ?/?\d)[)\]]?",
        before(rf"(?:my |the |a |our |his |her )?(?:\w{{3,9}} )?{_OTHERS}(?: is| was)?,? ?[(\[]?", 40),
        before(r"\d ?"),
    ),
    rule("minor", "here", rf"{{START}}{_TEENS}(?: ?{_YEARS})?(?: (?:girl|boy|male|female|guy))? here(?! and there)"),
    rule(
        "minor",
        _WORDS,
        rf"{_NOW} ?(?:\w{{3,9}} )?{_SCHOOL}",
        _PAST,
        before(r"(?:not|no longer|teach\w*|work\w*|daughter|son|graduated|friends?)[^.!?]{0,12}"),
        after(
            r" (?:teacher|counsel\w+|coach|parent|friends?|nurse|sweetheart|dropout|graduate|diploma|,? i (?:was|"
            r"had))"
        ),
    ),
    rule(
        "minor",
        "grade grader freshman sophomore school",
        r"i (?:go to|attend|am starting|start|just started|am about to start|still go to) (?:(?:my|a|the) "
        r")?(?:freshman|sophomore|junior)? ?(?:year (?:of|in) )?(?:high ?school|middle school|secondary school|"
        r"(?:6|7|8|9|10|11)th grade|(?:sixth|seventh|eighth|ninth|tenth|eleventh) grade)",
    ),
    rule(
        "minor",
        "minor underage under teen teenager",
        r"i(?:'m| am)(?: (?:still|only|just|technically|legally|a|an|also)){0,3} (?:minor|underage|under(?: the "
        r"age of)? (?:18|16|17|eighteen)|not (?:yet )?18|not an adult yet)(?! (?:in|issue|detail|problem))",
        _PAST,
    ),
    rule(
        "minor",
        "not yet turn until",
        r"i(?:'m| am) not (?:even |yet )?(?:18|eighteen|16|17)(?: yet)?|(?:till|until|when|before|once) i (?:turn|"
        r"am|'m) (?:18|eighteen)(?! (?:\w{2,8} )?(?:hours|months))",
    ),
)
