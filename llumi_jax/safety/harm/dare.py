"""T1-dare: daring, urging or telling somebody to do it."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, unless_after, without

_DO_IT = r"(?:do it|end it(?: all)?|kill {SELF}|die|off {SELF}|jump|get it over with)"
_LIVING_TALK = before(
    r"(?:if you|you (?:want|wanted|plan|planned|feel|felt|said|wrote|are going|were going|might|may|could not|"
    r"would)|do you|are you|urge|urges|thoughts?|trying|tried|wish|before you|when you|i|he|she|they|who|people|"
    r"that you|how|afraid|{NOBODY})\b[^.!?]{0,40}"
)
RULES: tuple[Rule, ...] = (
    rule(
        "T1-dare",
        "guts nerve balls courage cheap stopping",
        r"you (?:don't|do not|haven't|never had) (?:even )?(?:have |got )?the (?:guts|nerve|balls|courage)(?=[.,!]|"
        r"$| to (?:do|go|kill|end|die|jump))|talk is cheap|{NOBODY} is stopping you(?! from)",
        reported,
        denied,
    ),
    rule(
        "T1-dare",
        "serious really meant wanted & would have already",
        r"if you(?:'d| were| had| was)? (?:(?:really|actually|truly|been) ){0,2}(?:serious|wanted (?:it|to)|meant "
        r"(?:it|to)|want (?:it|to))~~(?:would(?: have|'ve)?|'d)~(?:done|do|gone|be dead|have|already)",
        reported,
    ),
    rule(
        "T1-dare",
        "do_it prove & coward loser pussy chicken prove then already",
        r"do it,? (?:you )?(?:coward|loser|pussy|chicken|then|already)|prove (?:it|you mean it|yourself)(?=[.!,]|$|"
        r" then| to us)",
        reported,
        before(r"(?:to|you|i|they) "),
    ),
    rule(
        "T1-dare",
        "stop quit less & do get",
        r"(?:stop|quit|less) (?:posting|talking|whining|writing|threatening|crying)(?: (?:about it|here|on "
        r"here))?~(?:and|just|more)~(?:do it|get it over|end it|doing|get on)",
        reported,
    ),
    rule(
        "T1-dare",
        "do_it end_it get_it off_yourself off_myself off_your kill_yourself kill_your kill_myself just_die "
        "then_die go_die so_die on_die well_die and_die just_jump then_jump go_jump so_jump on_jump well_jump "
        "and_jump & just then so go why may might well ahead",
        rf"{_DO_IT}(?= (?:already|now|then|tonight|and (?:stop|be|get|leave|shut)|if you|because|you)|[.,!]|$)",
        unless_after(
            r"(?:just|then|so|go ahead and|go and|go on and|go on|go|why don't you|you may as well|you might as "
            r"well|might as well|well),? "
        ),
        without(r"{INTENT}|already|talking about it|do us|dare|just do it (?:then|now)|jump|die", 1),
        denied,
        reported,
        _LIVING_TALK,
        after(r",? (?:one|step|slowly|bit|once|today)"),
    ),
    rule(
        "T1-dare",
        "kill_yourself kill_your kill_myself kill_my kill_ur",
        r"kill (?:{SELF}|ur ?self)(?! (?:over|with work|working|studying|laughing|for (?:a|this|the)))",
        denied,
        reported,
        _LIVING_TALK,
        before(
            r"(?:to|would|could|will|might|may|can|you|i'd|you'd|i'll|you'll|they|we|he|or)(?: (?:just|really|"
            r"actually|even))? "
        ),
    ),
    rule(
        "T1-dare",
        "kill_yourself kill_your kill_myself kill_himself kill_herself kill_themselves kill_my",
        r"(?:you should|why don't you|you ought to|you need to|you might as well|do us~|hope you|just|please|to|"
        r"should) (?:go )?(?:and )?(?:just )?kill {SELF}",
        denied,
        reported,
        before(
            r"(?:want\w*|going|try\w*|tried|plan\w*|need\w*|feel like|urge|ways?|how|thought|like|wish\w*|about|"
            r"how|not|have|about|tempted|threat\w*|says?|said) ?[^.!?]{0,12}"
        ),
    ),
    rule(
        "T1-dare",
        "you_won you_wont you_ll you_will you_don you_dont you_haven you_havent too_scared too_weak too_chicken "
        "too_cowardly & do go kill die",
        r"(?:you(?:'ll never| will never| won't| will not| don't have the (?:guts|nerve|balls) to| haven't got the "
        r"(?:guts|nerve) to|'re too (?:scared|weak|chicken|cowardly) to| are too (?:scared|weak|chicken|cowardly) "
        r"to)) (?:(?:actually|really|ever|even) )?(?:do it|go through with it|kill yourself|die)(?! (?:alone|by "
        r"yourself|without|again|on your own|perfectly|in one|overnight|all|to))",
        reported,
        before(
            r"(?:hope|promise\w*|glad|please|trust|pray|wish|if|thank\w*|relieved|happy|that|so|sure)(?: (?:me|"
            r"that|to me|us|you))? "
        ),
    ),
    rule(
        "T1-dare",
        "dare_you bet_you",
        r"(?:i )?(?:double )?dare you(?! (?:to (?:smile|call|eat|try|take|write|live|stay|be)))|(?:i )?bet you(?: "
        r"are|'re)? (?:won't|can't|don't|will not|too)",
        denied,
        reported,
        before(r"(?:how|don't you|they|he|she|who) "),
    ),
    rule(
        "T1-dare",
        "die rot dead burn",
        r"(?:(?:just|please|now|then|so|well|lol) ){0,2}(?:go (?:and )?(?:die|rot|burn in hell)|drop dead|hope you "
        r"die|please die|just die)(?! (?:of|from|in (?:my|your) sleep|to|out))",
        denied,
        reported,
        _LIVING_TALK,
        before(
            r"(?:to|would|could|i|you|we|they|he|she|will|might|wanna|can|must|plants?|people|relationships?|"
            r"things|leaves) "
        ),
    ),
    rule(
        "T1-dare",
        "waiting favour favor",
        r"what are you waiting for|do (?:us|everyone|the world|me|yourself)(?: all)? a favou?r and (?:die|kill|end|"
        r"do it|jump|go)",
        without("{INTENT}|do us|do everyone|do the", 1),
        denied,
        reported,
    ),
    rule(
        "T1-dare",
        "it_over this_over it_already with_it & get do",
        r"(?:get (?:it|this) over with|do it already|get on with it|stop talking (?:about it )?and do it)",
        without("{INTENT}|do it", 1),
        denied,
        reported,
        _LIVING_TALK,
    ),
)
