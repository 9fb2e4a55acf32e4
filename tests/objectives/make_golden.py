"""Writes golden_trl.json: losses and gradients as TRL's own code computes them, from log-probabilities given to it.

Run once, in an environment of its own (nothing here needs TRL or torch to run the tests):

    python3 -m venv /tmp/trl && /tmp/trl/bin/pip install torch==2.13.0 trl==1.16.0
    /tmp/trl/bin/python tests/objectives/make_golden.py tests/objectives/golden_trl.json

TRL computes its losses inside its trainers. Here the trainers are made without their constructors, and their model is
a table: it answers with the log-probabilities of tokens that the case holds. Everything behind the model is TRL's.
"""

import json
import random
import sys
from collections import defaultdict
from types import SimpleNamespace

PAIRS, LONGEST = 5, 6
BETA = 0.3


def make_case(seed: int) -> dict:
    """Log-probabilities of the tokens of some pairs, nested lists [pairs][side][tokens], side 0 = chosen."""
    rng = random.Random(seed)
    lengths = [[rng.randint(1, LONGEST) for _ in range(2)] for _ in range(PAIRS)]
    lengths[0], lengths[1] = [2, LONGEST], [LONGEST, 2]  # either side is the longer one
    tokens = lambda low, high: [[[round(rng.uniform(low, high), 3) for _ in range(n)] for n in two] for two in lengths]
    return {"policy": tokens(-4, -0.05), "reference": tokens(-4, -0.05), "collision": tokens(-2.5, -0.1)}


def flat(case: dict) -> dict:
    """Every reply as one token: sums and means are the same then."""
    return {name: [[[sum(side)] for side in pair] for pair in values] for name, values in case.items()}


def centred(case: dict) -> dict:
    """Flat, the reference shifted so that rewards have mean 0."""
    case = flat(case)
    ratios = [p[s][0] - r[s][0] for p, r in zip(case["policy"], case["reference"], strict=True) for s in (0, 1)]
    shift = sum(ratios) / len(ratios)
    return {**case, "reference": [[[side[0] + shift] for side in pair] for pair in case["reference"]]}


# (case, our options, TRL's options, how pairs weigh on our side, float type)
DPO = [
    ("tokens", {"loss": "sigmoid"}, {}),
    ("tokens", {"loss": "sigmoid", "beta": 0.05}, {}),
    ("tokens", {"loss": "hinge"}, {}),
    ("tokens", {"loss": "hinge", "beta": 1.5}, {}),
    ("flat", {"loss": "ipo"}, {}),
    ("tokens", {"loss": "robust", "label_smoothing": 0.1}, {}),
    ("tokens", {"loss": "exo_pair", "label_smoothing": 0.01}, {}),
    ("tokens", {"loss": "nca_pair"}, {}),
    ("centred", {"loss": "bco_pair"}, {}),
    ("tokens", {"loss": "sppo_hard"}, {}),
    ("tokens", {"loss": "aot"}, {}),
    ("tokens", {"loss": "aot", "label_smoothing": 0.2}, {}),
    ("tokens", {"loss": "aot_unpaired"}, {}),
    ("tokens", {"loss": "aot_unpaired", "label_smoothing": 0.2}, {}),
    ("tokens", {"loss": "apo_zero"}, {}),
    ("tokens", {"loss": "apo_down"}, {}),
    ("tokens", {"loss": "discopop"}, {}),
    ("tokens", {"loss": "discopop", "discopop_tau": 0.7}, {}),
    ("tokens", {"loss": "sigmoid_norm", "beta": 5.0}, {}),
    ("tokens", {"loss": "sft"}, {}),
    ("tokens", {"loss": {"sigmoid": 0.8, "hinge": 0.2, "nca_pair": 1.5}}, {}),
    ("tokens", {"loss": "sigmoid", "f_divergence": "forward_kl"}, {}),
    ("tokens", {"loss": "sigmoid", "f_divergence": "js"}, {}),
    ("tokens", {"loss": "sigmoid", "f_divergence": "alpha", "f_alpha": 0.3}, {"dtype": "float32"}),
    ("tokens", {"loss": "exo_pair", "label_smoothing": 0.05, "f_divergence": "js"}, {}),
    ("flat", {"loss": "ipo", "f_divergence": "js"}, {}),
    ("tokens", {"loss": "sigmoid", "ld_alpha": 0.4}, {}),
    ("tokens", {"loss": "apo_zero", "ld_alpha": 0.0}, {}),
    ("tokens", {"loss": "sigmoid", "wpo": True}, {}),
    ("tokens", {"loss": "apo_zero", "wpo": True, "ld_alpha": 0.7}, {}),  # not hinge: TRL 1.16 cannot take its gradient
]
CPO = [
    {"loss": "cpo", "cpo_alpha": 0.0},
    {"loss": "cpo", "cpo_alpha": 0.0, "label_smoothing": 0.1},
    {"loss": "simpo", "beta": 2.0, "simpo_gamma": 0.5},
    {"loss": "simpo", "beta": 2.5, "simpo_gamma": 1.4},
]
KTO = [{"loss": "kto"}, {"loss": "kto", "desirable_weight": 1.33, "undesirable_weight": 0.8}]


class Tables:
    """The answers of a model: tensors [2 pairs, LONGEST], chosen replies first, zero past each reply's end."""

    is_gradient_checkpointing, training = False, True
    _modules: dict = {}  # accelerate looks there for compiled parts

    def __init__(self, torch, case: dict, name: str, dtype) -> None:
        rows = [pair[side] for side in (0, 1) for pair in case[name]]
        padded = [row + [0.0] * (LONGEST - len(row)) for row in rows]
        self.log_probs = torch.tensor(padded, dtype=dtype, requires_grad=name == "policy")
        collision = [pair[side] for side in (0, 1) for pair in case["collision"]]
        self.log_sum_sq_probs = torch.tensor([row + [0.0] * (LONGEST - len(row)) for row in collision], dtype=dtype)
        self.entropy = self.mean_logits = torch.zeros_like(self.log_probs)
        self.is_top1 = torch.zeros(self.log_probs.shape, dtype=torch.bool)
        mask = [[0] + [1] * len(row) + [0] * (LONGEST - len(row)) for row in rows]
        self.mask = torch.tensor(mask)

    def __call__(self, **_):
        return self

    def gradient(self, case: dict) -> list:
        """By token, nested as the case is."""
        by_row = self.log_probs.grad.tolist()
        return [
            [by_row[side * PAIRS + i][: len(pair[side])] for side in (0, 1)] for i, pair in enumerate(case["policy"])
        ]


ACCELERATOR = SimpleNamespace(device="cpu", gather_for_metrics=lambda x: x, gather=lambda x: x, unwrap_model=None)
TRL_DIVERGENCES = {"js": "js_divergence", "alpha": "alpha_divergence"}


def trainer(cls, **fields):
    """One of TRL's trainers without its constructor."""
    made = object.__new__(cls)
    common = {"accelerator": ACCELERATOR, "aux_loss_enabled": False, "precompute_ref_logps": False}
    common |= {"_metrics": defaultdict(lambda: defaultdict(list)), "_total_train_tokens": 0, "_tp_size": 1}
    for name, value in {**common, **fields}.items():
        object.__setattr__(made, name, value)
    return made


def dpo(torch, case: dict, ours: dict, dtype) -> tuple[float, list]:
    from trl import DPOTrainer

    losses = {ours["loss"]: 1.0} if isinstance(ours["loss"], str) else ours["loss"]
    divergence = ours.get("f_divergence", "reverse_kl")
    policy = Tables(torch, case, "policy", dtype)
    made = trainer(
        DPOTrainer,
        model=policy,
        ref_model=Tables(torch, case, "reference", dtype),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=ours.get("discopop_tau", 0.05)),
        loss_types=list(losses),
        loss_weights=list(losses.values()),
        beta=ours["beta"],
        label_smoothing=ours.get("label_smoothing", 0.0),
        ld_alpha=ours.get("ld_alpha"),
        use_weighting=ours.get("wpo", False),
        f_divergence_type=TRL_DIVERGENCES.get(divergence, divergence),
        f_alpha_divergence_coef=1 - ours.get("f_alpha", 0.5),  # the paper's alpha is 1 minus TRL's
    )
    ids = torch.zeros_like(policy.mask)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": policy.mask}
    loss = made._compute_loss(policy, inputs, False)
    loss.backward()
    return loss.item(), policy.gradient(case)


def cpo(torch, case: dict, ours: dict) -> tuple[float, list]:
    """CPO and SimPO, without the likelihood that TRL adds elsewhere."""
    from trl.experimental.cpo import CPOTrainer

    policy = Tables(torch, case, "policy", torch.float64)
    logps = policy.log_probs.sum(-1)
    if ours["loss"] == "simpo":
        logps = logps / policy.mask.sum(-1)
    made = trainer(
        CPOTrainer,
        alpha=0.0,
        beta=ours["beta"],
        loss_type="simpo" if ours["loss"] == "simpo" else "sigmoid",
        simpo_gamma=ours.get("simpo_gamma", 0.5),
        label_smoothing=ours.get("label_smoothing", 0.0),
    )
    loss = made.cpo_loss(logps[:PAIRS], logps[PAIRS:])[0].mean()
    loss.backward()
    return loss.item(), policy.gradient(case)


def orpo(torch, case: dict, ours: dict) -> tuple[float, list]:
    """TRL's odds ratio loss (float32 by its own cast); the likelihood a token of the chosen reply is added here."""
    from trl.experimental.orpo import ORPOTrainer

    policy = Tables(torch, case, "policy", torch.float64)
    logps = policy.log_probs.sum(-1) / policy.mask.sum(-1)
    made = trainer(ORPOTrainer, beta=ours["beta"])
    loss = -made.odds_ratio_loss(logps[:PAIRS], logps[PAIRS:])[0].mean() - logps[:PAIRS].mean()
    loss.backward()
    return loss.item(), policy.gradient(case)


def kto(torch, case: dict, ours: dict, other: dict) -> tuple[float, list]:
    """`other` holds the mismatched replies, whose tables the model answers with when it is asked for them."""
    from trl import KTOTrainer

    policy, reference = (Tables(torch, case, name, torch.float64) for name in ("policy", "reference"))
    kl = {name: Tables(torch, other, name, torch.float64) for name in ("policy", "reference")}

    class Both:
        is_gradient_checkpointing, training = False, True
        _modules: dict = {}

        def __init__(self, name: str, own: Tables) -> None:
            self.name, self.own = name, own

        def __call__(self, input_ids, **_):
            return kl[self.name] if int(input_ids[0, 0]) == 1 else self.own

    model = Both("policy", policy)
    made = trainer(
        KTOTrainer,
        model=model,
        ref_model=Both("reference", reference),
        args=SimpleNamespace(gradient_checkpointing_kwargs=None),
        calculate_KL=True,
        loss_type="kto",
        beta=ours["beta"],
        desirable_weight=ours.get("desirable_weight", 1.0),
        undesirable_weight=ours.get("undesirable_weight", 1.0),
    )
    ids, mismatched = torch.zeros_like(policy.mask), torch.ones_like(policy.mask)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": policy.mask}
    inputs |= {"KL_input_ids": mismatched, "KL_attention_mask": mismatched, "KL_completion_mask": policy.mask}
    inputs["label"] = torch.tensor([True] * PAIRS + [False] * PAIRS)
    loss = made._compute_loss(model, inputs, False)
    loss.backward()
    return loss.item(), policy.gradient(case)


def main(path: str) -> None:
    import torch
    import trl

    tokens = make_case(7)  # whose pairs stand in another order under the reference than under the policy
    cases = {"tokens": tokens, "flat": flat(tokens), "centred": centred(tokens)}
    other = make_case(2)
    # In one the policy likes the mismatched replies better than the reference does, in the other it does not.
    mismatched = {"one way": other, "the other": {**other, "policy": other["reference"], "reference": other["policy"]}}
    results = []

    def add(case: str, ours: dict, found: tuple[float, list], **more) -> None:
        results.append({"case": case, "options": ours, "loss": found[0], "gradient": found[1], **more})

    for case, ours, trl_only in DPO:
        ours = {"beta": BETA, **ours}
        name = trl_only.get("dtype", "float64")
        add(case, ours, dpo(torch, cases[case], ours, getattr(torch, name)), dtype=name)
    for ours in CPO:
        ours = {"beta": BETA, **ours}
        add("tokens", ours, cpo(torch, tokens, ours), dtype="float64")
    add("tokens", {"beta": BETA, "loss": "orpo"}, orpo(torch, tokens, {"beta": BETA}), dtype="float32")
    for ours in KTO:
        for name, other in mismatched.items():
            ours = {"beta": BETA, **ours}
            add("tokens", ours, kto(torch, tokens, ours, other), dtype="float64", mismatched=name)
    made_by = f"TRL {trl.__version__}, torch {torch.__version__}; tests/objectives/make_golden.py"
    with open(path, "w", encoding="utf-8") as file:
        document = {"made_by": made_by, "cases": cases, "mismatched": mismatched, "results": results}
        file.write(json.dumps(document).replace('{"case"', '\n{"case"') + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
