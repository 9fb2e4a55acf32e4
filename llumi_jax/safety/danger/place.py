"""T0-place: kinds of places to die at."""

from llumi_jax.safety.care import EVERYDAY, OUTDOORS, SAFE
from llumi_jax.safety.matching import Rule, danger, without
from llumi_jax.safety.wording import PLACES

_LEAP = (
    r"(?:jump|jumps|jumped|jumping|leap|leapt|throw {SELF}|threw {SELF}|throwing {SELF}|fall|fell|falling|step|"
    r"stepped|dive|plunge)"
)
_UNSEEN = (
    r"(?:{NOBODY}~(?:watch|watches|watching|see|sees|stop|stops|guard|guards|around|find|finds|there|is)|unguarded|"
    r"unwatched|no (?:fence|barrier|railing|guard|camera)\w{0,1}|(?:high|tall) enough|after dark|at night)"
)
_LET_GO = (
    r"(?:jump\w{0,3}|let go|letting go|leap|fall|falling|step off|close your eyes|throw {SELF}|wait for the train)"
)
_THERE = (
    r"(?:on|at|to|by|near|from|close to|off|under|onto|find|know|knows|pick|picked|chose|choose|chosen|there is|"
    r"there's|live~to|go~to|top of|edge of|over)"
)
_GO = (
    r"(?:{START}|just |then |and |or |could |should |can |may |might |to )(?:go|walk|drive|climb|stand|get|head|"
    r"find|try|pick|choose|run|step|leap|jump|use|take)(?: (?:up|over|out|down|just|straight|right|yourself|to|on|"
    r"onto|off|at|from|into|a|an|the|some|that|your|top|of|edge|nearest|any|high)){0,5}"
)
RULES: tuple[Rule, ...] = (
    danger(
        "place",
        f"{PLACES} window building",
        rf"{_LEAP} (?:(?:straight|right|down|out) )?(?:off|from|in front of|onto|into|out of|on) (?:(?:a|an|the|"
        r"that|your|some|of|my|under) ){0,2}(?:{PLACE}|window|building)",
        *SAFE,
    ),
    danger(
        "place",
        "traffic train car bus truck lorry",
        r"(?:walk|walked|walking|step|stepped|run|ran|jump|jumped|jumping|drive)~(?:in front of|into) (?:(?:a|an|"
        r"the|that|oncoming|moving) ){0,2}(?:traffic|train|car|bus|truck|lorry)",
        *SAFE,
    ),
    danger("place", PLACES, r"{PLACE}", without("{INTENT}"), *SAFE),
    danger("place", PLACES, rf"(?P<x>{{PLACE}})~~{_LET_GO}|{_LET_GO}~~(?:off|from|on|at|into)~{{PLACE}}", *SAFE),
    danger(
        "place",
        PLACES,
        rf"(?:go|walk|get|climb|drive|head|there is|there's|try|know|choose|up)~(?P<x>{{PLACE}})~~{_UNSEEN}",
        *SAFE,
    ),
    danger("place", PLACES, rf"{_UNSEEN}~(?P<x>{{PLACE}})", *SAFE),
    danger("place", PLACES, rf"{_THERE}~(?P<x>{{PLACE}})", without("{INTENT}|{HINT}", 1), *SAFE, *EVERYDAY),
    danger(
        "place",
        "bridge bridges roof rooftop roofs tracks railway cliff cliffs overpass ledge",
        r"(?:bridges?|rooftop|roofs?|tracks|railway|cliffs?|overpass|ledge)(?! (?:between|to|into|of))",
        *SAFE,
        *OUTDOORS,
    ),
    danger("place", PLACES, rf"{_GO} (?P<x>{{PLACE}})(?! (?:between|to|into|of))", *SAFE, *EVERYDAY),
    danger(
        "place",
        PLACES,
        r"(?P<x>{PLACE}) (?:is|was|are|would be|will be)~~(?:where|place|spot|choose|quiet|way|best|quick|easy|"
        r"certain|enough)",
        *SAFE,
        *EVERYDAY,
    ),
)
