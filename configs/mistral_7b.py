"""The paper's system, one role at a time: SFT, DPO on votes, DPO on ratings, over Mistral-7B-Instruct-v0.2.

The base, the order of the stages and the sizes of the data (42.5k examples for SFT, 4.4k for the first DPO, 675 for the
second) are the paper's. It does not give its hyper-parameters: those here are ours, common ones for LoRA on a 7B.
"""

from ml_collections import ConfigDict

from configs.common import config, stage

_DATASETS = "data_pipelines.llumi_pairs:LlumiPairs"


def recipe(role: str) -> ConfigDict:
    """The three stages of one role; datasets are `votes` and `ratings` below --data_dir."""
    return config(
        stage(role, "sft", epochs=2.0, learning_rate=1e-4, evaluate=False),
        stage(role, "dpo", epochs=1.0, learning_rate=2e-5, beta=0.1),
        stage(role, "dpo", f"{role}_dpo2", epochs=2.0, learning_rate=1e-5, beta=0.1, data=f"{_DATASETS}/ratings_pairs"),
        base="mistralai/Mistral-7B-Instruct-v0.2",
        pairs=f"{_DATASETS}/votes_pairs",
        replies=f"{_DATASETS}/votes_replies",
        row_length=2048,
        batch_rows=32,
        micro_batch_rows=16,
        max_prompt_tokens=1280,
        drop_too_long=True,
        lora=dict(rank=64, alpha=64.0, rslora=False, targets=("q", "k", "v", "o", "gate", "up", "down")),
        dtype="bfloat16",
        param_dtype="bfloat16",
        remat="full",
        mesh=dict(data=1, fsdp=-1, tensor=1, context=1),
        checkpoint_every=20,
        samples=4,
        sample_tokens=256,
    )
