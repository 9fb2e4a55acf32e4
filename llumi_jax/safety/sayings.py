"""Sayings that name a means, a place or a death and mean none."""

from llumi_jax.safety.wording import compiled

_SAYINGS = (
    r"(?:at )?(?:the )?end of (?:my|your|the|his|her|our|their) rope|learn\w* the ropes|the ropes|jump\w* the gun|"
    r"under the gun|(?:stick\w*|stuck) to (?:my|your|his|her|their|our) guns?|smoking gun|(?:bite|biting|bit) the "
    r"bullet|dodg\w+ (?:a|the|that|some) bullet|silver bullet|bullet (?:point|journal)s?|(?:hard|bitter|tough) "
    r"pill to swallow|chill pills?|blades? of grass|shoulder blades?|knife'?s? edge|razor (?:sharp|thin)|(?:cross|"
    r"crossed|crossing) (?:that|this|the) bridge|(?:burn|burnt|burned|burning|build|building|built|mend\w*) "
    r"(?:that |the |any |your |my |a |all |some )?bridges?|bridge (?:the|that|this|a) gap|through the roof|roof "
    r"over (?:my|your|his|her|their|our|the) heads?|under (?:one|the same|their|my|your|his|her|our|a) roof|(?:on|"
    r"off|back on|keep|kept|lost|losing|lose) track|in (?:my|your|his|her|their) tracks|(?:train|trains) of "
    r"thought|potty train|belt out|gas (?:bill|station|price|tank|money|stove)s?|out of gas|poison (?:control|"
    r"centre|center|hotline|helpline|line)|food poison\w*|(?:bored|scared|sick|tired|worried|frightened|freezing|"
    r"laugh\w*|work\w*|lov\w*|stress\w*) (?:\w+ )?to death|dying to (?!die|end|kill|go)|dead (?:tired|end|ends|"
    r"serious|wrong|line|on|weight|inside)|drop dead gorgeous|deadly (?:boring|dull|serious|silen\w+|quiet)|fatal "
    r"(?:flaw|error|mistake|attraction)|suicide (?:prevention|hotline|helpline|lifeline|line|crisis|squad|"
    r"awareness|survivors?|watch|and crisis)|kill(?:ing|ed)? (?:time|the mood|the vibe|it)|(?:back|head|feet|"
    r"knees?|legs?|job|work|boss|stress|suspense|commute|shoes|headache|heat|boredom|this) (?:is |are |was "
    r")?killing (?:me|you|us)|killing (?:me|you) (?:softly|with kindness)|hang (?:in there|on|out|up|tight|around)|"
    r"hanging (?:in there|on|out|around|up)|(?:cut|cutting) (?:your|my|him|her|them|our)\W?sel(?:f|ves) (?:some "
    r"slack|off|short|a break|loose|free|in half)|(?:shoot\w*|shot) (?:your|my|him|her|them)\W?sel(?:f|ves) in the "
    r"foot|(?:cut|cutting) (?:me|you|him|her|them|us) (?:off|some slack|loose|out|short)|(?:drown\w*|bury\w*|"
    r"buried) (?:my|your|him|her|them|our)\W?sel(?:f|ves) in (?:\w+ )?(?:work|homework|books|studies|music)|(?:toy|"
    r"water|nerf|heat|glue|massage|top|bubble|finger) guns?|walls and ropes|(?:climbing|jump|skipping) ropes?|"
    r"(?:have|has|got|having) a roof|leaves? tracks|(?:whole|entire) railway|(?:cliff|railway|tower|bridge) "
    r"(?:paths?|walks?|station|museum|club)|gratitude (?:diary|journal|list)|"
    r"guns? (?:blazing|violence|control|laws?)|(?:drug|drugs) "
    r"(?:test|store|stores|tests)|(?:hot|warm|cold|safe) (?:water )?tracks|(?:end|ending|ended|ends) (?:it|things|"
    r"everything) (?:with|between) (?!me\b)(?:him|her|them|us|my|your|his|this)\b(?! (?:life|own life))"
)


def blank(text: str) -> str:
    """Returns the normalised text with sayings blanked out, character by character."""
    return compiled(rf"(?<!\w)(?:{_SAYINGS})(?!\w)").sub(lambda match: "#" * len(match[0]), text)
