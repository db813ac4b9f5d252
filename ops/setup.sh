#!/usr/bin/env bash
# Makes .venv with CPython 3.12, requirements.lock (hashes checked) and this project. Does nothing when that is done already.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the environment is made from: if none of it changed, there is nothing to do.
fingerprint=$(cat requirements.lock pyproject.toml ops/setup.sh | sha256sum | cut -d' ' -f1)
if [ "$(cat .venv/.fingerprint 2>/dev/null)" = "$fingerprint" ]; then exit 0; fi

# A `python3.12` on PATH may be a pyenv shim that does not run, so every candidate is tried, not just looked for.
find_python() {
  local candidate
  for candidate in "${ESPALIER_PYTHON:-}" python3.12 python3 python \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python "$HOME"/.local/share/uv/python/cpython-3.12*/bin/python3.12; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 12) or sys.implementation.name != "cpython")' >/dev/null 2>&1; then
      echo "$candidate"
      return
    fi
  done
  echo "espalier needs CPython 3.12 with venv: install it (python3.12 and python3.12-venv, or 'pyenv install 3.12') or set ESPALIER_PYTHON to one." >&2
  return 1
}

python=$(find_python)
[ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null \
  || "$python" -m venv --clear .venv
# The installer is locked like everything else: its own lines of the lock come first.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
  -r <(awk '/^uv==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.lock)
# Byte code is compiled once here; otherwise every Ray worker would compile torch for itself.
UV_COMPILE_BYTECODE=1 .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
echo "$fingerprint" > .venv/.fingerprint
