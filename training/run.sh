#!/bin/sh
# From nothing to all models: ./run.sh WORK_FOLDER [STEPS]
# WORK_FOLDER receives checkpoints, logs and the Hugging Face folders ember-hf and ember-embed-hf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: run.sh WORK_FOLDER [STEPS]}
steps=${2:-2400}
mkdir -p "$work"
work=$(cd "$work" && pwd)

python3 -m venv "$work/venv"
py="$work/venv/bin/python"
"$py" -m pip install -q -r "$here/requirements.txt"

[ -f "$work/tokenizer/tokenizer.json" ] || "$py" "$here/tokenizer.py" "$work/tokenizer"
"$py" "$here/train.py" "$work/tokenizer" "$work/ember" --steps "$steps" --export "$work/ember-hf"
"$py" "$here/export.py" "$work/ember/checkpoint.pt" "$work/tokenizer" "$work/ember-hf"
"$py" "$here/eval.py" "$work/ember-hf" --out "$work/ember-eval.md"

[ -f "$work/embed/teacher.pt" ] || "$py" "$here/embed_train.py" teacher "$work/embed"
"$py" "$here/embed_train.py" train "$work/embed" --export "$work/ember-embed-hf"
"$py" "$here/embed_eval.py" "$work/ember-embed-hf" --out "$work/ember-embed-eval.md"

"$py" "$here/example_train.py" "$work"
"$py" "$here/digits_train.py" "$work"

cat <<EOT
Now make the files that ship, in the repository root:
  cargo run --release -- quantize $work/ember-hf models/ember.gguf --type q8_0
  cargo run --release -- quantize $work/ember-embed-hf models/ember-embed.gguf --type q8_0
  cp $work/example.pt2 $work/digits.pt2 models
EOT
