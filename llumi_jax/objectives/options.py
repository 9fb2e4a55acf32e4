"""What a preference stage may set: its loss and that loss's options, under the names of the field. No jax here."""

import dataclasses
from collections.abc import Mapping

DIVERGENCES = ("reverse_kl", "forward_kl", "js", "alpha")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceOptions:
    """The one home of these defaults. `llumi_jax.training.recipe.Stage` has all of them."""

    loss: str | Mapping[str, float] = "sigmoid"  # a name of preference.LOSSES, or several: {"sigmoid": 1.0, "sft": 0.1}
    beta: float = 0.1  # how strongly the policy is held to the reference
    soft_labels: bool = True  # each pair's own probability as its label; False = 1
    label_smoothing: float = 0.0  # one chance for all pairs that the label is wrong; below .5
    f_divergence: str = "reverse_kl"  # what holds the policy to the reference: a name of DIVERGENCES
    f_alpha: float = 0.5  # f_divergence="alpha": 0 would be reverse KL, 1 forward KL
    ld_alpha: float = 1.0  # LD-DPO: weight of the tokens past the shorter reply's length; 1 = off
    rdpo_alpha: float = 0.0  # R-DPO: reward a token of length that the margin concedes to the longer reply; 0 = off
    wpo: bool = False  # WPO: pairs weigh as the policy would have written them
    simpo_gamma: float = 0.5  # simpo: margin that the chosen reply must have
    cpo_alpha: float = 1.0  # cpo: weight of the chosen reply's negative log-likelihood
    discopop_tau: float = 0.05  # discopop: temperature of the modulation
    desirable_weight: float = 1.0  # kto: of chosen replies
    undesirable_weight: float = 1.0  # kto: of rejected replies
    entropy: bool = False  # log the entropy of the predictions; costs one more product with the output matrix

    @property
    def losses(self) -> dict[str, float]:
        """Names of the losses with their weights in the sum."""
        return {self.loss: 1.0} if isinstance(self.loss, str) else dict(self.loss)
