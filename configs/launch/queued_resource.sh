#!/usr/bin/env bash
# Cloud TPU, a queued resource: ask for a slice, install, train on all its hosts, give it back.
#
#   export PROJECT=… ZONE=us-east5-a NAME=llumi TYPE=v5p-16 RUNTIME=v2-alpha-tpuv5
#   configs/launch/queued_resource.sh create      # waits in Google's queue; --spot and others may follow
#   configs/launch/queued_resource.sh state
#   configs/launch/queued_resource.sh install     # this folder, to every host
#   CONFIG=configs/gm_mistral_7b.py WORKDIR=/mnt/shared/gm configs/launch/queued_resource.sh train --data_dir DATA
#   configs/launch/queued_resource.sh delete      # it is paid for until then
#
# WORKDIR must be on storage that all hosts see, such as Filestore or a mounted bucket. For v6e: TYPE=v6e-16
# RUNTIME=v2-alpha-tpuv6e.
set -euo pipefail

: "${PROJECT:?the Google Cloud project}"
: "${ZONE:?the zone, e.g. ZONE=us-east5-a}"
: "${NAME:?a name for the slice, e.g. NAME=llumi}"
place=(--project "$PROJECT" --zone "$ZONE")
folder=llumi_jax

everywhere() {
  gcloud compute tpus tpu-vm ssh "$NAME" "${place[@]}" --worker=all --command "$1"
}

what=${1:?create, state, install, train or delete}
shift
case "$what" in
  create)
    : "${TYPE:?the slice, e.g. TYPE=v5p-16}"
    : "${RUNTIME:?the image of the hosts, e.g. RUNTIME=v2-alpha-tpuv5}"
    gcloud compute tpus queued-resources create "$NAME" --node-id "$NAME" "${place[@]}" \
      --accelerator-type "$TYPE" --runtime-version "$RUNTIME" "$@"
    ;;
  state)
    gcloud compute tpus queued-resources describe "$NAME" "${place[@]}" --format='value(state.state)'
    ;;
  install)
    archive=$(mktemp --suffix=.tar.gz)
    trap 'rm -f "$archive"' EXIT
    git archive --format=tar.gz -o "$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:$folder.tar.gz" "${place[@]}" --worker=all
    everywhere "mkdir -p $folder && tar -xzf $folder.tar.gz -C $folder && cd $folder && python3 -m venv .venv &&
      .venv/bin/pip install -q -c constraints.txt -e '.[tpu]'"
    ;;
  train)
    : "${CONFIG:?the config to train, e.g. CONFIG=configs/gm_mistral_7b.py}"
    : "${WORKDIR:?a folder that all hosts see}"
    # A platform that is named must start: without it, a broken host would mean days on the CPU.
    everywhere "cd $folder && JAX_PLATFORMS=tpu,cpu .venv/bin/python -m llumi_jax.train $(printf '%q ' \
      --config "$CONFIG" --workdir "$WORKDIR" --join_seconds 900 "$@")"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$NAME" "${place[@]}" --force
    ;;
  *)
    echo "$what is none of create, state, install, train, delete" >&2
    exit 2
    ;;
esac
