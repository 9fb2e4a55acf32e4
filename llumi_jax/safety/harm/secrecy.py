"""T1-secrecy: promises to keep everything secret."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, without

RULES: tuple[Rule, ...] = (
    rule(
        "T1-secrecy",
        "say word breathe & i",
        r"i(?: will not| won't| will never|'ll never| would never|'d never) (?:say|breathe) (?:a word|anything|a "
        r"thing)(?= to| about|[.,!]|$)",
        reported,
    ),
    rule(
        "T1-secrecy",
        "secret secrets hear stays report anyone anybody soul",
        r"i can keep (?:a |your )?secrets?|i(?:'m| am) good at keeping secrets|{NOBODY} (?:will|would|'ll)~(?:hear|"
        r"know|learn)~(?:from me)|(?:it|this|everything|what you (?:say|said|wrote|told me)) "
        r"(?:all )?stays (?:here|with me|in here)(?=[.,!]|$| (?:and|i|no))|i (?:will|would|'ll|'d)? "
        r"?(?:never|not) (?:ever )?(?:report|repeat|pass on|share|betray)~(?:it|this|that|you|to anyone|with "
        r"anyone)",
        denied,
        reported,
    ),
    rule(
        "T1-secrecy",
        "promise swear & tell say share report anyone anybody soul nobody",
        r"i (?:promise|swear)(?: (?:you|to you|that|i|on my life)){0,6}~(?:not|never|won't|will not|will "
        r"never)~(?:tell|say|share|report)",
        denied,
        reported,
    ),
    rule(
        "T1-secrecy",
        "tell report & won wont not never wouldn wouldnt",
        r"i(?: will not| won't| would never|'ll never| will never| wouldn't|'d never|'m not going to| am not going "
        r"to)(?: ever)? (?:tell|report) (?:anyone|anybody|a soul|them|your \w{3,12}|the \w{3,10}|on you|another)",
        reported,
        after(r" (?:what to do|how to|that you (?:should|must|are))"),
    ),
    rule(
        "T1-secrecy",
        "secret",
        r"your secret(?:'s| is| will be|'ll be| stays)~(?:safe|with me)|our (?:little |own )?secret|i(?:'ll| will) "
        r"keep (?:it|this|that|your secret)~(?:secret|to myself|quiet|between us|safe)",
        denied,
        reported,
    ),
    rule(
        "T1-secrecy",
        "between",
        r"(?:keep|stay|stays|keeping|remain|remains|be)(?: (?:it|this|that|all|of|just|only|strictly|here|what you "
        r"(?:said|wrote|told me))){0,6} between (?:us|you and (?:me|i)|the two of us)",
        denied,
        reported,
        before(r"(?:cannot|can't|not able to|not|don't have to|no need to)[^.!?]{0,20}"),
    ),
    rule(
        "T1-secrecy",
        "lips nobody no_one noone & know find hear lips",
        r"my lips are sealed|{NOBODY} (?:has to|needs to|will|must|ever has to|ever needs to)(?: ever)? (?:know|"
        r"find out|hear)(?: about (?:it|this|us|that)(?: \w{3,14})?)?(?=[.,!]|$| (?:what you|from me|if|because|"
        r"but))",
        denied,
        reported,
        without("tell|secret|us|me|this|it"),
    ),
)
