#!/usr/bin/env bash
# Makes the Python environment in which the Qwen3-VL judge runs, and prints the line that the config needs.
#
# Knows: which versions were tried together, and which build of torch suits this machine's driver.
# Does not know: edit-eval, which is not installed there (it shows itself to the judge's process).

set -euo pipefail

readonly TORCH=2.14.1 TORCHVISION=0.29.1
readonly PACKAGES=(transformers==5.24.0 accelerate==1.15.0 pillow==13.0.0 numpy==2.4.6)
readonly OFFICIAL=https://download.pytorch.org/whl
readonly PYPI_CUDA=13.0 # what the build of this torch on PyPI was made for
readonly CONDA_PYTHON=3.12

usage() {
  cat <<END
usage: setup_qwen3_vl_env.sh [PATH]           a virtual environment (default: envs/qwen3_vl)
       setup_qwen3_vl_env.sh --conda [NAME]   a conda environment by name or path (default: qwen3_vl)
       setup_qwen3_vl_env.sh --dry-run ...    say what would be done, and do nothing

Installs torch $TORCH, torchvision $TORCHVISION, ${PACKAGES[*]},
checks that they import, and prints the line for the judge's part of the config. Run it again at any time:
what is there already is kept. edit-eval itself is not installed in that environment and need not be.

The build of torch follows the driver, as nvidia-smi reports it:
  CUDA $PYPI_CUDA or newer  the build on PyPI
  CUDA 12.x           the newest of PyTorch's cu12x builds that has torch $TORCH and suits the driver
  no GPU              PyTorch's CPU build; if its index cannot be reached, the (larger) one on PyPI
TORCH_INDEX_URL=URL   take torch from this index instead; TORCH_INDEX_URL=pypi: from pip's own
PYTHON=PATH           the Python (3.11 or newer) that makes the virtual environment (default: python3)

pip's own settings hold for all else: PIP_INDEX_URL (a mirror), PIP_CACHE_DIR, PIP_PROXY and so on. Neither root nor a
home folder that can be written is needed for a virtual environment.
END
}

say() { printf '%s\n' "$*"; }
fail() {
  printf 'setup_qwen3_vl_env.sh: %s\n' "$*" >&2
  exit "${code:-1}"
}

# What is installed and checked belongs to the new environment, whatever the shell or pip's settings say otherwise.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Runs a command, or only shows it.
act() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  if [[ $dry_run == no ]]; then "$@"; fi
}

# Prints the CUDA version that the driver supports (such as 12.8); nothing without a driver or a GPU.
driver_cuda() {
  command -v nvidia-smi >/dev/null || return 0
  local report
  report=$(nvidia-smi 2>/dev/null) || return 0
  sed -nE 's/.*CUDA[A-Za-z ]* Version: *([0-9]+\.[0-9]+).*/\1/p' <<<"$report" | head -n 1
}

# at_least A B: whether version A >= B.
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]; }

# Prints the indexes to try for torch, best first; `pypi` is pip's own.
torch_indexes() {
  local cuda=$1 build
  if [[ -n ${TORCH_INDEX_URL:-} ]]; then
    say "$TORCH_INDEX_URL"
  elif [[ -z $cuda ]]; then
    say "$OFFICIAL/cpu"
    say pypi
  elif at_least "$cuda" "$PYPI_CUDA"; then
    say pypi
  else
    for build in 12.9 12.8 12.6; do
      if at_least "$cuda" "$build"; then say "$OFFICIAL/cu${build/./}"; fi
    done
  fi
}

# Whether an index has a build of torch for this Python; +cpu or +cu128 in its version keeps other indexes out.
has_torch() {
  "$python" -m pip install --quiet --dry-run --no-deps --ignore-installed --retries 1 --timeout 20 \
    --index-url "$1" "torch==$2" >/dev/null 2>&1
}

install_torch() {
  local cuda=$1 index build
  local -a indexes
  mapfile -t indexes < <(torch_indexes "$cuda")
  if [[ ${#indexes[@]} -eq 0 ]]; then
    fail "this driver supports CUDA $cuda, and torch $TORCH needs a driver for 12.6 or newer; update the driver," \
      "or set TORCH_INDEX_URL to an index that has a build for it"
  fi
  if [[ ${#indexes[@]} -gt 1 ]]; then say "torch $TORCH comes from the first of these that has it: ${indexes[*]}"; fi
  for index in "${indexes[@]}"; do
    if [[ $index == pypi ]]; then
      act "$python" -m pip install "torch==$TORCH" "torchvision==$TORCHVISION"
      return
    fi
    build=''
    if [[ $index == "$OFFICIAL"/* ]]; then build=+${index##*/}; fi
    if [[ $dry_run == yes || -n ${TORCH_INDEX_URL:-} ]] || has_torch "$index" "$TORCH$build"; then
      act "$python" -m pip install --index-url "$index" "torch==$TORCH$build" "torchvision==$TORCHVISION$build"
      return
    fi
    say "not there, or not to be reached: torch $TORCH$build at $index"
  done
  fail "no build of torch $TORCH for this driver (CUDA $cuda) was found at ${indexes[*]}; update the driver to CUDA" \
    "$PYPI_CUDA or newer, or set TORCH_INDEX_URL"
}

# Whether everything is there already, in these versions and for this hardware.
complete() {
  [[ -x $python ]] || return 1
  "$python" - "$1" "torch==$TORCH" "torchvision==$TORCHVISION" "${PACKAGES[@]}" >/dev/null 2>&1 <<'END'
import sys
from importlib.metadata import version

for wanted in sys.argv[2:]:
    name, _, number = wanted.partition("==")
    assert version(name).partition("+")[0] == number, wanted
import torch

assert not sys.argv[1] or torch.version.cuda, "a CPU build on a machine with GPUs"
END
}

verify() {
  "$python" - <<'END'
import accelerate
import numpy
import PIL
import torch
import torchvision
import transformers
from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401

for module in (torch, torchvision, transformers, accelerate, PIL, numpy):
    print(f"  {module.__name__:<13} {module.__version__}")
found = torch.cuda.device_count()
print(f"  GPUs          {found}" + (f" ({torch.cuda.get_device_name(0)})" if found else " (the judge runs on the CPU)"))
END
}

make_venv() {
  local maker=${PYTHON:-python3} place=$1
  command -v "$maker" >/dev/null || fail "no $maker here; set PYTHON to a Python 3.11 or newer"
  "$maker" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$maker" --version) is too old; set PYTHON to a Python 3.11 or newer"
  # Also one that was begun and has no pip yet.
  if ! "$place/bin/python" -m pip --version >/dev/null 2>&1; then act "$maker" -m venv "$place"; fi
  # Not resolved further: bin/python is a link out of the environment.
  if [[ -d $place ]]; then place=$(cd "$place" && pwd); elif [[ $place != /* ]]; then place=$PWD/$place; fi
  if [[ -d $place && ! -e $place/.gitignore ]]; then echo '*' >"$place/.gitignore"; fi
  python=$place/bin/python
}

make_conda() {
  local name=$1 tool flag=--name
  if [[ $name == */* ]]; then flag=--prefix; fi
  tool=$(command -v conda || command -v mamba || command -v micromamba || true)
  if [[ -z $tool ]]; then
    for tool in "${CONDA_EXE:-}" "${MAMBA_EXE:-}"; do if [[ -x $tool ]]; then break; fi; done
  fi
  if [[ ! -x $tool ]]; then
    [[ $dry_run == yes ]] || fail "no conda, mamba or micromamba on PATH; leave out --conda for a virtual environment"
    tool=conda
  else
    python=$(conda_python "$tool" "$flag" "$name" || true)
  fi
  if [[ $python == /* ]]; then return; fi
  local -a from=()
  if [[ ${tool##*/} == micromamba ]]; then from=(--channel conda-forge); fi # it has no channel of its own
  act "$tool" create --yes "$flag" "$name" "${from[@]}" "python=$CONDA_PYTHON" pip
  if [[ $dry_run == yes ]]; then
    python="<prefix of $name>/bin/python"
  else
    python=$(conda_python "$tool" "$flag" "$name")
  fi
}

# Prints the path of an environment's Python.
conda_python() { "$1" run "$2" "$3" python -c 'import sys; print(sys.prefix + "/bin/python")' 2>/dev/null; }

dry_run=no kind=venv target='' python=''
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --dry-run) dry_run=yes ;;
    --conda) kind=conda ;;
    -*) code=2 fail "no such option: $1; see --help" ;;
    *)
      [[ -z $target ]] || code=2 fail "give one path or name, not both $target and $1"
      target=$1
      ;;
  esac
  shift
done

cuda=$(driver_cuda)
if [[ -n $cuda ]]; then say "The driver supports CUDA $cuda."; else say "No GPU found."; fi

if [[ $kind == conda ]]; then make_conda "${target:-qwen3_vl}"; else make_venv "${target:-envs/qwen3_vl}"; fi

if complete "$cuda"; then
  say "Everything is installed already."
else
  install_torch "$cuda"
  act "$python" -m pip install "${PACKAGES[@]}"
fi

if [[ $dry_run == no ]]; then
  say "Installed:"
  verify
fi

say ""
say "Put this line into the judge's part of the config:"
say ""
if [[ $kind == conda ]]; then say "  conda: ${python%/bin/python}"; else say "  python: $python"; fi
