#!/usr/bin/env bash
# One machine with several GPUs: one process drives all of them.
#
#   CONFIG=configs/gm_mistral_7b.py WORKDIR=runs/gm configs/launch/node.sh --data_dir DATA
#
# What follows goes to the train command. The same line again goes on from the last save.
set -euo pipefail

: "${CONFIG:?the config to train, e.g. CONFIG=configs/gm_mistral_7b.py}"
: "${WORKDIR:?the folder that everything is written to, e.g. WORKDIR=runs/gm}"

# A platform that is named must start: without it, a broken driver would mean days on the CPU.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda,cpu}"
# JAX takes 75 % of the memory by itself.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}"

exec python -m llumi_jax.train --config "$CONFIG" --workdir "$WORKDIR" --processes 1 "$@"
