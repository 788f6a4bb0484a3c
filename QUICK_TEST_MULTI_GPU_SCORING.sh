#!/usr/bin/env bash
# Shows scoring on all devices: one whole judge on each. Under a minute without real weights.
#
#   GPUs and weights     Qwen3-VL on every GPU (MODEL=... names another checkpoint or folder)
#   GPUs, no weights     the measuring judge on every GPU: no model, real processes and display
#   no GPU               the measuring judge on two CPU devices; with torch, also a tiny Qwen3-VL
#
# JUDGE_PYTHON=PATH runs the real judge in its own environment (default: envs/qwen3_vl, if it is there).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly runs=runs/quick-scoring

if [[ -x .venv/bin/edit-eval ]]; then
  edit_eval=.venv/bin/edit-eval
elif ! edit_eval=$(command -v edit-eval); then
  echo "edit-eval is not installed; run: make demo" >&2
  exit 2
fi
python=$(dirname "$edit_eval")/python

# Whether the hub's cache on this machine holds a model, such as Qwen/Qwen3-VL-30B-A3B-Instruct.
cached() {
  local cache=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
  compgen -G "$cache/models--${1//\//--}/snapshots/*/config.json" >/dev/null
}

find_model() {
  local name
  if [[ -n ${MODEL:-} ]]; then
    echo "$MODEL"
    return
  fi
  for name in Qwen/Qwen3-VL-30B-A3B-Instruct Qwen/Qwen3-VL-8B-Instruct Qwen/Qwen3-VL-4B-Instruct; do
    if cached "$name"; then
      echo "$name"
      return
    fi
  done
}

# run NAME [CODE]: a run of its own, made anew, from the config on standard input; CODE: an exit code to expect.
run() {
  local folder=$runs/$1 expected=${2:-0} code=0
  rm -rf "$folder"
  mkdir -p "$folder"
  cat >"$folder/config.yaml"
  "$edit_eval" run "$folder/config.yaml" --output "$folder/run" || code=$?
  if [[ $code -ne 0 && $code -ne $expected ]]; then exit "$code"; fi
}

measuring() {
  echo "== The measuring judge on $1: 12 drawn scenes, edited by script"
  run measuring <<END
benchmark: {type: scenes, params: {n: 12, size: 256}}
editor: {type: scripted, devices: $1, params: {error_rate: 0.3}}
judge: {type: reference, devices: $1, batch_size: 2, params: {seconds: 0.4}}
END
}

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
if [[ $gpus -gt 0 ]]; then
  model=$(find_model)
  if [[ -n $model ]]; then
    judge_python=${JUDGE_PYTHON:-}
    if [[ -z $judge_python && -x envs/qwen3_vl/bin/python ]]; then judge_python=envs/qwen3_vl/bin/python; fi
    echo "== $model on $gpus GPUs: $((4 * gpus)) drawn scenes, edited by script"
    run model <<END
benchmark: {type: scenes, params: {n: $((4 * gpus)), size: 512}}
editor: {type: scripted, devices: [cpu:0], params: {error_rate: 0.3}}
judge:
  type: qwen3_vl
  model: $model
  rubric: general-v1
  devices: all
  batch_size: 2
  ${judge_python:+python: $judge_python}
END
  else
    echo "No weights of Qwen3-VL here ('edit-eval fetch config_full_multi_gpu.yaml', or MODEL=...)."
    measuring all
  fi
else
  measuring '[cpu:0, cpu:1]'
  if "$python" -c 'import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("torch", "transformers"))))'; then
    echo "== A tiny Qwen3-VL (mixture of experts) with random weights on two CPU devices: 4 edits"
    echo "   Random weights write nothing that can be read: every verdict is to be unscored (exit code 3)."
    tiny=runs/quick-tiny
    [[ -d $tiny/qwen3-vl-moe ]] || "$python" tests/tiny_checkpoints.py "$tiny" qwen3-vl-moe
    run tiny 3 <<END
benchmark: {type: scenes, params: {n: 4, size: 256}}
editor: {type: scripted, devices: [cpu:0, cpu:1]}
judge:
  type: qwen3_vl
  model: $tiny/qwen3-vl-moe
  rubric: general-v1
  devices: [cpu:0, cpu:1]
  batch_size: 2
  params: {max_new_tokens: 32}
END
    echo "As expected: nothing of it was made into a score."
  else
    echo "No torch and transformers beside edit-eval, so no real model was run."
  fi
fi
echo "Scoring on every device works; reports are in $runs."
