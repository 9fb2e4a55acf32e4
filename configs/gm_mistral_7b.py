"""GM on Mistral-7B-Instruct-v0.2 with LoRA in bfloat16, split over all devices: see configs/mistral_7b.py.

Build the datasets first, votes and ratings side by side in one folder:

    python -m data_pipelines.build --source reddit_dump --submissions RS_2024.zst --comments RC_2024.zst \
        --rule strict --dataset votes --out DATA
    (and `ratings`, a dataset of the same features from people's ratings of replies)

See what it needs, without weights or data, then train; any part can be chosen with --config.only:

    python -m llumi_jax.train --config configs/gm_mistral_7b.py --workdir runs/gm --dry_run \
        --virtual_devices 8 --config.mesh.fsdp=8
    python -m llumi_jax.train --config configs/gm_mistral_7b.py --workdir runs/gm --data_dir DATA
    python -m llumi_jax.train --config configs/gm_mistral_7b.py --workdir runs/gm --data_dir DATA --config.only=gm_sft
"""

from configs import mistral_7b


def get_config():
    return mistral_7b.recipe("gm")
