#!/usr/bin/env bash
# Shows editing on all devices: a bar for each, the [SYNC] bar over all of them. Under a minute without real weights.
#
#   GPUs and weights     Qwen-Image-Edit on every GPU, 10 steps (MODEL=... names another checkpoint or folder)
#   GPUs, no weights     the scripted editor on every GPU: simulated edits, real display
#   no GPU               the scripted editor on two CPU devices; with torch, also a tiny Qwen-Image-Edit-Plus
#
# EDITOR_PYTHON=PATH runs the real editor in an environment of its own.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly runs=runs/quick-progress

if [[ -x .venv/bin/edit-eval ]]; then
  edit_eval=.venv/bin/edit-eval
elif ! edit_eval=$(command -v edit-eval); then
  echo "edit-eval is not installed; run: make demo" >&2
  exit 2
fi
python=$(dirname "$edit_eval")/python

# Whether the hub's cache on this machine holds a model, such as Qwen/Qwen-Image-Edit.
cached() {
  local cache=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
  compgen -G "$cache/models--${1//\//--}/snapshots/*/model_index.json" >/dev/null
}

find_model() {
  local name
  if [[ -n ${MODEL:-} ]]; then
    echo "$MODEL"
    return
  fi
  for name in Qwen/Qwen-Image-Edit-2511 Qwen/Qwen-Image-Edit-2509 Qwen/Qwen-Image-Edit; do
    if cached "$name"; then
      echo "$name"
      return
    fi
  done
}

# edit NAME: edits into a run of its own, made anew, from the config on standard input.
edit() {
  local folder=$runs/$1
  rm -rf "$folder"
  mkdir -p "$folder"
  cat >"$folder/config.yaml"
  "$edit_eval" edit "$folder/config.yaml" --output "$folder/run"
}

scripted() {
  echo "== The scripted editor on $1: 10 edits of 15 steps, simulated"
  edit scripted <<END
benchmark: {type: scenes, params: {n: 10, size: 256}}
editor: {type: scripted, devices: $1, params: {seconds: 1.5, steps: 15}}
END
}

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if [[ $gpus -gt 0 ]]; then
  model=$(find_model)
  if [[ -n $model ]]; then
    echo "== $model on $gpus GPUs: 10 steps"
    edit model <<END
benchmark: {type: scenes, params: {n: $((2 * gpus)), size: 512}}
editor:
  type: qwen_image_edit
  model: $model
  devices: all
  params: {num_inference_steps: 10}
  ${EDITOR_PYTHON:+python: $EDITOR_PYTHON}
END
  else
    echo "No weights of Qwen-Image-Edit here ('edit-eval fetch config_full_multi_gpu.yaml', or MODEL=...)."
    scripted all
  fi
else
  scripted '[cpu:0, cpu:1]'
  if "$python" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("torch", "diffusers"))))'; then
    echo "== A tiny Qwen-Image-Edit-Plus with random weights on two CPU devices: 2 edits of 2 steps"
    tiny=runs/quick-tiny
    [[ -d $tiny/qwen-image-edit-plus ]] || "$python" tests/tiny_checkpoints.py "$tiny" qwen-image-edit-plus
    edit tiny <<END
benchmark: {type: scenes, params: {n: 2, size: 256}}
editor:
  type: qwen_image_edit
  model: $tiny/qwen-image-edit-plus
  devices: [cpu:0, cpu:1]
  params: {num_inference_steps: 2}
END
  else
    echo "No torch and diffusers beside edit-eval, so no real model was run."
  fi
fi
echo "The progress display works; images and reports are in $runs."
