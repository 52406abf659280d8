#!/usr/bin/env bash
# OpenAI's and Triton's own clients against the server: `run.sh` starts target/release/hearth on a free port with a fresh home and
# stops it again; `run.sh BASE_URL` uses a server that runs. Needs python3 with requirements.txt installed, node and npm.
set -euo pipefail
cd "$(dirname "$0")"

base=${1:-}
if [ -z "$base" ]; then
  home=$(mktemp -d)
  server=
  # A network with two versions, as in a repository of Triton.
  for version in 1 2; do
    mkdir -p "$home/models/versions/$version"
    cp ../../models/example.pt2 "$home/models/versions/$version/model.pt2"
  done
  echo 'version_policy { all {} } max_batch_size: 8' >"$home/models/versions/config.pbtxt"
  trap '[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" || true; }; rm -rf "$home"' EXIT
  HEARTH_HOME=$home ../../target/release/hearth serve --host 127.0.0.1 --port 0 >"$home/log" 2>&1 &
  server=$!
  for _ in $(seq 300); do
    base=$(grep -ao 'http://127\.0\.0\.1:[0-9]*' "$home/log" | head -n 1) || true
    [ -z "$base" ] || break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  if [ -z "$base" ]; then
    echo "the server did not come up; its log:" >&2
    cat "$home/log" >&2
    exit 1
  fi
fi

npm ci --silent --no-audit --no-fund
python3 client.py "$base"
python3 triton.py "$base"
node client.mjs "$base"
