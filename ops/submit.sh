#!/usr/bin/env bash
# Submits one command to a running Ray cluster, follows its log and fetches its tables. The wheel travels, not the working
# directory; the cluster's machines need what requirements.lock names, and a home (ESPALIER_HOME) that all of them share.
#
#   ops/submit.sh ADDRESS RESULTS OUT VERB [WORD]...
#   ops/submit.sh http://head:8265 s3://bucket/dry-run runs/dry-run select demo --episodes 6
#
# ADDRESS  of the dashboard. RESULTS  storage URI that the cluster and this machine reach. OUT  local folder for the tables.
# Exit code: that of the command.
set -euo pipefail

if [ $# -lt 4 ]; then
  echo "usage: ops/submit.sh ADDRESS RESULTS OUT VERB [WORD]..." >&2
  exit 2
fi
address=$1 results=$2 out=$3
shift 3
root=$(cd "$(dirname "$0")/.." && pwd)
python=${ESPALIER_VENV:-$root/.venv}/bin/python

# The same token on every machine and here; see `ray get-auth-token --generate`.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
  echo "submit: no token in $RAY_AUTH_TOKEN_PATH: put the cluster's there, or name its file in RAY_AUTH_TOKEN_PATH" >&2
  exit 2
fi

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
(cd "$root" && "$python" -m hatchling build -t wheel -d "$wheels" > /dev/null)
environment=$("$python" - "$wheels"/*.whl << 'PY'
import json, os, sys
passed = {name: os.environ[name] for name in ("ESPALIER_HOME",) if os.environ.get(name)}
print(json.dumps({"py_modules": sys.argv[1:], "env_vars": {"HF_HUB_OFFLINE": "1", **passed}}))
PY
)
status=0
"$(dirname "$python")/ray" job submit --address "$address" --runtime-env-json "$environment" -- \
  python -P -m harness.job run "$results" "$@" || status=$?
# Fetched also where the job failed: its manifest says why.
code=0
"$python" -m harness.job fetch "$results" "$out" || code=$?
[ "$status" -ne 0 ] && [ "$code" -eq 0 ] && exit "$status"
exit "$code"
