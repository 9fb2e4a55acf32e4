"""T1-minimise: making light of pain, and slogans."""

from llumi_jax.safety.matching import Rule, after, before, denied, reported, rule, within

_PEOPLE = (
    r"(?:others?|other people|other kids|people|some people|many people|plenty of people|lots of people|somebody|"
    r"someone|kids in \w{3,12}|children in \w{3,12}|millions)"
)
RULES: tuple[Rule, ...] = (
    rule(
        "T1-minimise",
        "move_on t_even not_even dont_even",
        r"{START}(?:(?:just|you need to|you have to|it's time to|time to|simply|and|so) ){0,2}move on(?=[.!,]|$| "
        r"with your life| already)|(?:some|many|other) people (?:do not|don't) even have",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "sorry pity",
        r"stop (?:feeling (?:so )?sorry for|pitying) yourself|self\W?pity",
        denied,
        reported,
        before(r"(?:to|not|isn't) "),
    ),
    rule(
        "T1-minimise",
        "starving cancer wars war refugees dying homeless & people children kids there others someone",
        r"(?:there are |think of (?:the |all the )?)?(?:children|kids|people|others|someone)~(?:starving|with "
        r"cancer|in wars?|who (?:have nothing|are starving|are dying|are homeless|would love))~(?:in|out there|"
        r"right now|who|every|somewhere)?",
        denied,
        reported,
        within(r"you (?:work|help|care|feed)|your (?:job|work)|news"),
    ),
    rule(
        "T1-minimise",
        "just_need only_need simply_need just_have only_have simply_have & more out smile exercise sleep outside "
        "hobby up job laid",
        r"you (?:just|only|simply) (?:need|have) to (?:get (?:out|up|laid|outside|over|a \w{3,8}|some|more)|smile|"
        r"exercise|relax|go (?:out|for)|find a|think|try|stop|be|look|toughen|work)",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "end_of big_deal ever_died",
        r"not (?:exactly )?the end of the world|isn't the end of the world|no big deal|nobody ever died (?:of|"
        r"from)|no one ever died (?:of|from)",
        reported,
    ),
    rule(
        "T1-minimise",
        "complain sad cry depressed whine upset worry & what nothing reason have",
        r"what (?:do|have|did) you (?:even |really )?(?:have |got )?to (?:complain|be (?:sad|upset|depressed|"
        r"unhappy)|cry|whine|worry)|(?:nothing|no reason|no right) to (?:complain|be (?:sad|upset|depressed|"
        r"unhappy)|cry|whine)(?: about)?",
        denied,
        reported,
        before(r"(?:feel|feels|think|like|believe|say|says)[^.!?]{0,20}"),
    ),
    rule(
        "T1-minimise",
        "happy glad kill love lucky & problems life have",
        r"(?:others|people|someone|many|some|plenty|millions)~(?:would|'d) (?:be (?:happy|glad|grateful)|kill|die|"
        r"love|give anything) (?:to have|for|to be) (?:your|half|what you|in your)|you (?:are|'re|should feel) "
        r"(?:so |very |really )?lucky (?:to|that|compared|you have)",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "is_nothing s_nothing wait_until wait_till its_nothing thats_nothing",
        r"(?:this|that|it)(?:'s| is) nothing(?=[.,!]| compared| yet|$)|wait (?:until|till) you(?:'re| are| have| "
        r"get| grow)~(?:adult|older|kids|job|bills|real|my age|grown|up)",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "only just & breakup job exam cat dog boy girl guy grade test school money divorce relationship pet "
        "hamster friend fight bad",
        r"(?:it|this|that|he|she)(?:'s| is| was) (?:only|just|merely) (?:a |an |one )?(?:\w{3,8} )?(?:breakup|"
        r"break\W?up|job|exam|cat|dog|boy|girl|guy|grade|test|school|money|divorce|relationship|pet|hamster|fight|"
        r"bad (?:day|week|grade|mood|patch))(?=[.,!]|$| and| after| you)",
        denied,
        reported,
        before(r"(?:not|that|if|as if|like|say)[^.!?]{0,10}"),
    ),
    rule(
        "T1-minimise",
        "everyone everybody we_all of_us all_people & problems problem issue issues bad rough hard tough sad down "
        "tired stressed struggles",
        r"(?:everyone|everybody|we all|all of us|all people)(?:'s)? (?:(?:has|have|had|gets?|feels?|goes through|"
        r"go through|got|is|are) )(?:(?:their|some|his or her|these|those|own|a|bad|little) ){0,3}(?:problems?|"
        r"issues?|bad (?:days?|times?|weeks?)|rough (?:times?|patch(?:es)?)|hard times?|tough times?|sad|down|"
        r"tired|stressed|struggles)(?! (?:me|in their own|differently|we))",
        denied,
        reported,
        before(r"(?:not|if|when|where|that|who|like|how) ?"),
    ),
    rule(
        "T1-minimise",
        "negative positive tomorrow",
        r"(?:do not|don't|stop being) (?:be )?(?:so |always )?negative|tomorrow is another day|there(?:'s| is) "
        r"always tomorrow|good vibes only|every cloud has",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "relax chill calm",
        r"{START}(?:just )?(?:relax|chill(?: out)?|calm down)(?=[.,!])",
        denied,
        reported,
        after(r"[^.!?]{0,3} (?:your|and breathe|with)"),
    ),
    rule(
        "T1-minimise",
        "worse harder hard problems",
        rf"{_PEOPLE} (?:(?:who|out there|with|that|in this world|in the world|actually|just|also|really|still|would|"
        r"are|all over the world) ){0,4}(?:have|has|had|having|got|are|is|suffer\w{0,3}|going through|go "
        r"through)~(?:(?:it|so|much|way|far|a lot|even|life|lives|things|off|a) ){0,4}(?:worse|harder|bigger "
        r"problems|real problems|it hard|real pain)",
        reported,
        denied,
        within("hearing|comparing|compare"),
    ),
    rule(
        "T1-minimise",
        "worse",
        r"(?:could|might) (?:(?:be|have been|always|so|much|a lot|far|way) ){1,3}worse(?! than you (?:say|let))",
        reported,
        denied,
        before(r"(?:if|that|afraid|fear|worried)[^.!?]{0,15}"),
    ),
    rule(
        "T1-minimise",
        "phase head mind hormones stress puberty day week mood patch nothing teenage & probably surely just only "
        "all really likely merely simply but",
        r"(?:it|this|that|these feelings|sadness)(?:'s| is| was|'ll be| will be|'re| are) (?:(?:probably|surely|"
        r"just|only|all|really|most likely|merely|simply|nothing but) ){1,3}(?:a (?:phase|bad (?:day|week|mood|"
        r"patch))|in your (?:head|mind)|(?:your )?hormones|stress|puberty|a teenage|teenage|nothing)",
        denied,
        reported,
        before(r"(?:if|whether)[^.!?]{0,8}"),
    ),
    rule(
        "T1-minimise",
        "bad deal serious hard terrible",
        r"(?:it|this|that|things|your (?:life|situation|problems?)|life)(?:(?:'s| is|'re| are)(?: really)? not|(?: "
        r"is| are)n't| can't be| cannot be| can not be)(?: (?:really|even|actually))? (?:(?:all )?(?:that|so|as) "
        r"(?:bad|serious|hard|terrible|big (?:of )?a (?:deal|problem))|(?:such )?a big deal)(?: as)?(?! (?:you can|"
        r"to (?:ask|talk|see|call)|for (?:everyone|you)))",
        reported,
        before(r"(?:if|when|that|hope|maybe) ?"),
    ),
    rule(
        "T1-minimise",
        "get_over",
        r"(?:(?:just|you'll|you will|you need to|you have to|you should|you must|please|come on|time to|and|then|"
        r"so|eventually|will|soon|gotta|got to) ){1,3}get over (?:it|yourself|this|him|her)",
        denied,
        reported,
        before(r"(?:how|hard|help\w*|when|tell you|can)[^.!?]{0,20}"),
    ),
    rule("T1-minimise", "get_over", r"^get over (?:it|yourself)"),
    rule(
        "T1-minimise",
        "snap_out cheer_up chin_up suck_it toughen_up lighten_up",
        r"(?:snap out of (?:it|this)|cheer up|chin up|suck it up|toughen up|lighten up)",
        denied,
        reported,
        before(r"(?:to|you could|can't|i|he|she|they)(?: just)? ", unless=r"(?:need|have) to(?: just)? "),
        within(r"tell you|as if|as simple|could just|wish"),
    ),
    rule(
        "T1-minimise",
        "just_be just_smile just_relax just_stop just_choose just_forget simply_be simply_smile simply_relax "
        "simply_stop simply_choose simply_forget positive positively bright_side blessings t_be dont_be not_be "
        "be_grateful",
        r"(?:(?:just|simply) (?:be happy|smile|relax|stop (?:being (?:so )?(?:sad|negative|dramatic)|worrying|"
        r"overthinking|thinking about it)|choose (?:to be happy|happiness)|forget (?:about )?(?:it|him|her))|"
        r"(?:think|stay|be) (?:more )?positive(?:ly)?|look (?:on|at) the (?:bright|positive) side|count your "
        r"blessings|don't be (?:so |such a )?(?:sad|dramatic|silly|negative|ridiculous|sensitive|drama queen)|be "
        r"grateful (?:for|that|you))",
        reported,
        before(
            r"(?:can't|cannot|to|hard to|not|never|you don't have to|nobody can|told|say|you can't|you|i|they)(?: "
            r"(?:just|simply|always))? ",
            unless=r"(?:need|have|try|got) to ",
            width=25,
        ),
        after(r" (?:thoughts|psychology|influence)"),
        within(r"tell you|as if|as simple|hard to|not so easy|no need|don't have to|wish"),
    ),
    rule(
        "T1-minimise",
        "a_choice a_reason stronger live_for no_reason permanent_solution",
        r"happiness is a choice|everything happens for a reason|what (?:doesn't|does not) kill (?:you|us)~stronger|"
        r"you have (?:so much|everything|a lot|your whole life)~to live for|you have no reason to (?:be|feel) "
        r"(?:sad|depressed|down|unhappy|this way)|permanent solution",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "overreacting exaggerating dramatic sensitive overthinking fuss mountain deal",
        r"{YOU_ARE} {EXTREMELY}(?:overreacting|overthinking(?: (?:it|this|things))?|exaggerating|dramatic|(?:over|"
        r"too |over\W)sensitive|making (?:such )?a (?:big deal|mountain|fuss|drama))|stop (?:being so (?:dramatic|"
        r"sensitive|negative)|overreacting|exaggerating|making (?:such )?a)",
        denied,
        reported,
        before(r"(?:if|when|whether|why|that|are|do) ?"),
    ),
    rule(
        "T1-minimise",
        "everyone everybody we_all of_us all_people & feel feels goes go has have get gets deal deals struggle "
        "struggles",
        r"(?:everyone|everybody|we all|all of us|all people)~(?:feels?|goes through|go through|has|have|gets?|"
        r"deals? with|struggles? with)~(?:(?:through|with|these|their|some|those|a|like) ){0,2}(?:this|sad|bad "
        r"days?|problems?|down|depressed|lonely|it|that way|like (?:this|that)|stressed|hard times|tough times|"
        r"rough patch\w{0,2}|the same)(?=[.,!]|$| (?:sometimes|now|at|once|from|in|and|so|too|occasionally))",
        reported,
        before(r"(?:not|if|when|where|that|who|like|how) ?"),
        within(r"need|deserve|different|who (?:have|has)"),
    ),
    rule(
        "T1-minimise",
        "first_world too_young a_problem a_real",
        r"first world problems?|(?:you're|you are) (?:still |far |way )?too young (?:to (?:be|feel|know|understand|"
        r"have|worry))|that's (?:hardly|not (?:even )?|barely )a (?:real )?problem",
        denied,
        reported,
    ),
    rule(
        "T1-minimise",
        "be_fine just_fine totally_fine perfectly_fine laugh_about forget_about forget_it forget_him forget_her "
        "forget_this",
        r"you(?:'ll| will) (?:be (?:just |totally |perfectly )?fine|laugh about (?:it|this)|(?:soon )?forget "
        r"(?:about )?(?:it|him|her|this))",
        denied,
        reported,
        before(r"(?:if|that|whether|when|hope|think)[^.!?]{0,10}"),
    ),
)
