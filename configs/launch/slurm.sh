#!/usr/bin/env bash
# SLURM, nodes of eight GPUs: one process for each GPU, which find each other by themselves.
#
#   CONFIG=configs/gm_mistral_7b.py WORKDIR=/shared/runs/gm sbatch configs/launch/slurm.sh --data_dir DATA
#
# Partition and account are your cluster's: sbatch --partition=… --account=… configs/launch/slurm.sh
# WORKDIR must be on storage that all nodes see. A job that comes to its time limit saves, and queues itself again.
#SBATCH --job-name=llumi
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

: "${CONFIG:?the config to train, e.g. CONFIG=configs/gm_mistral_7b.py}"
: "${WORKDIR:?a folder that all nodes see, e.g. WORKDIR=/shared/runs/gm}"

# A platform that is named must start: without it, a broken driver would mean days on the CPU.
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda,cpu}"
# JAX takes 75 % of the memory by itself.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}"

said=$(mktemp)
trap 'rm -f "$said"' EXIT
limit=()
if [ -n "${SLURM_JOB_END_TIME:-}" ]; then
  limit=(--time_limit "$((SLURM_JOB_END_TIME - $(date +%s) - 60))s")
fi

# A lost process stops all others by itself, each with a line on why; --wait gives them the time to say it.
srun --wait=60 python -m llumi_jax.train --config "$CONFIG" --workdir "$WORKDIR" --join_seconds 900 "${limit[@]}" "$@" |
  tee "$said"

# A failure has ended this script above.
if grep -q '^Stopped on' "$said"; then
  scontrol requeue "$SLURM_JOB_ID"
fi
