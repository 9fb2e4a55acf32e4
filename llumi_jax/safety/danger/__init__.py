"""T0: what must never pass, in replies or posts: one module a rule.

Naming a means is no danger in itself ("lock the pills away"): it becomes one as a way to die or to be hurt, so most
rules look for two things in one sentence, or in neighbouring ones, and for what makes them harmless (see `care`).
"""

from llumi_jax.safety.danger import acquire, conceal, dose, lethality, means, pact, place
from llumi_jax.safety.matching import Rule

RULES: tuple[Rule, ...] = (
    *means.RULES,
    *dose.RULES,
    *lethality.RULES,
    *place.RULES,
    *acquire.RULES,
    *pact.RULES,
    *conceal.RULES,
)
