"""T1: what is never chosen, imitated or written, though a reply that says it may be kept to learn from."""

from llumi_jax.safety.harm import (
    dare,
    diagnosis,
    guilt,
    insult,
    lived_experience,
    medication,
    minimise,
    permission,
    romanticise,
    secrecy,
    validate_intent,
)
from llumi_jax.safety.matching import Rule

RULES: tuple[Rule, ...] = (
    *validate_intent.RULES,
    *permission.RULES,
    *insult.RULES,
    *dare.RULES,
    *guilt.RULES,
    *minimise.RULES,
    *medication.RULES,
    *diagnosis.RULES,
    *romanticise.RULES,
    *secrecy.RULES,
)
GM_RULES: tuple[Rule, ...] = lived_experience.RULES
