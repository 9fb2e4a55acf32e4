"""What a model takes for somebody's name and is nobody in private: such words stay as they are.

Each group has its reason. A list that is too long is a hole: a word is here only if hardly anybody bears it as a name,
or if the words around it say what it is.
"""

import re

# What the other tiers put there, and the end of a line: a name never runs on to the next one.
_NEVER = r"\[[A-Z]+\]|[\r\n]+"
# Prayed to and sworn by, in any case. "Jesus" before a surname is a person.
_FAITH = (
    r"(?i:gods?|jesus christ|christ|lord|allah|buddha|yahweh|jehovah|satan|santa(?: claus)?|virgin mary|hail mary)|"
    r"(?:Jesus|JESUS|jesus)(?!\s+[A-Z][a-z])"
)
# Illnesses that are called by the name alone.
_ILLNESSES = (
    r"(?i:asperger|alzheimer|parkinson|tourette|crohn|hashimoto|huntington|lyme|korsakoff|sj[oö]gren|"
    r"raynaud|m[eé]ni[eè]re)(?:(?i:['’]?s)\b)?"
)
# Names of tests, therapies and illnesses, if the next words say so: anybody may be called Beck.
_TERMS = (
    r"depression|anxiety|hopelessness|inventory|scale|scales|rating|test|index|criteria|disease|syndrome|disorder|"
    r"thyroiditis|palsy|method|model|therapy|hierarchy|stages|technique"
)
_EPONYMS = (
    r"(?:Beck|Hamilton|Young|Zung|Rosenberg|Edinburgh|Columbia|Montgomery|Graves|Cushing|Addison|Down|Bell|Ehlers|"
    r"Ehlers[-–]Danlos|Wilson|Marfan|Turner|Klinefelter|Myers[-–]Briggs|Hawkins|Gottman|Linehan|Maslow|Wim Hof|"
    r"Stockholm|K[uü]bler[-–]Ross|Capgras|Cotard|Rorschach)(?:['’]s?)?"
)
_TAIL = rf"(?:\s+(?i:{_TERMS})\b)"
# Who helps: what a reader may need most must not be masked.
_HELP = (
    r"Samaritans?|Child[Ll]ine|Kids ?[Hh]elp(?: ?(?:[Ll]ine|[Pp]hone))?|Life[Ll]ine|Papyrus|PAPYRUS|Hope[Ll]ine|Kooth|"
    r"Mind|Shout|SHOUT|Calm|CALM|Befrienders|Beyond ?[Bb]lue|Head[Ss]pace|Cruse|Refuge|Relate|Switchboard|"
    r"Trevor(?: Project| Lifeline|Chat|Space|Text)|Jed Foundation|Marie Curie|"
    r"Macmillan(?: Cancer| Support| nurses?)|Maggie['’]s [Cc]ent(?:re|er)|"
    r"Victim Support|Talk Suicide|Crisis Text Line|Pieta(?: House)?|Aware|Jigsaw|Tusla|Nightline|Al-?Anon|Alateen|"
    r"Rethink|Sane|SANE|Telefonseelsorge"
)
# People whose books and thoughts are spoken of, by names that hardly anybody else bears.
_KNOWN = (
    r"Freud|Jung|Frankl|Maslow|Linehan|K[uü]bler[-–]Ross|(?:Bessel )?[Vv]an der Kolk|Bren[eé] Brown|Gabor Mat[eé]|"
    r"Aaron Beck|Carl Rogers|Eckhart Tolle|Nietzsche|Kierkegaard|Seneca|Marcus Aurelius|Epictetus"
)
# Medicines with the capital of a name.
_MEDICINES = (
    r"(?i:zoloft|lexapro|prozac|xanax|effexor|wellbutrin|lamictal|seroquel|abilify|ativan|klonopin|celexa|paxil|"
    r"cymbalta|adderall|ritalin|vyvanse|concerta|buspar|trazodone|remeron|mirtazapine|sertraline|fluoxetine|"
    r"citalopram|escitalopram|venlafaxine|duloxetine|bupropion|quetiapine|risperidone|olanzapine|latuda|zyprexa|"
    r"risperdal|strattera|pristiq|trintellix|viibryd|valium|lithium|lamotrigine|propranolol|melatonin|ozempic)"
)
# Who is spoken to or of without a name, and short forms of the forums.
_WORDS = (
    r"(?i:mum|mom|mama|mommy|mummy|dad|daddy|papa|grandma|grandpa|granny|nana|gran|auntie|sis|bro|hun|hugs?|xx+|xo+|"
    r"op|oop|tl;?dr|lol|lmao|imho|idk|tbh|btw|thx|reddit|redditors?|discord|whatsapp|tiktok|instagram|facebook|zoom|"
    r"cbt|dbt|emdr|adhd|bpd|ocd|ptsd|cptsd|gad|mdd|autism|ssris?|snris?|therapist|hello|hi|hey|thanks|thank|"
    r"karma|zen|tai chi|yoga|reiki|netflix|spotify|google|siri|chatgpt|mr|mrs|ms|miss|dr|prof|sir|madam|the|an?|"
    r"my|and|or|dear|poor|uncle|aunt)"
)

KEPT = re.compile(
    rf"{_NEVER}|(?<![\w-])(?:{_ILLNESSES}{_TAIL}*|{_EPONYMS}{_TAIL}+|{_FAITH}|{_HELP}|{_KNOWN}|{_MEDICINES}|{_WORDS})"
    r"(?![\w-])"
)
# Words that may be (part of) a name, in lower case: where one is a name once, it need not be one everywhere in a text.
ALSO_WORDS = frozenset(
    "uncle aunt sister brother cousin mother father pastor reverend rabbi nurse doctor professor teacher officer judge "
    "coach captain queen saint the and but for with not you your his her our their this that when then dear poor good "
    "will mark hope grace faith joy may june april august summer autumn dawn eve rose lily daisy ivy iris holly "
    "heather ruby pearl amber jade crystal star sky rain skye river brook brooke forest glen dale cliff rock "
    "stone woods rob bill bob jack nick pat sue art drew chase chance grant frank ernest earnest miles guy dean "
    "max rich sunny sandy misty stormy harmony melody patience prudence constance charity mercy trinity christian "
    "angel baby precious honey candy cherry ginger olive rosemary basil sage robin jay wren raven finch drake fox "
    "wolf king prince duke earl page major young long short small little brown black white green gray grey baker "
    "cook carter mason taylor smith hunter fisher gardener walker day winter winters spring love price best sharp "
    "swift strong power noble wise moody self case lane hill field wells banks bush marsh moore ward bell ball "
    "cross church hall house park street way read reed see say".split()
)
