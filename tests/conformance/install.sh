#!/usr/bin/env bash
# Make the environment in which vLLM's own planner answers: install.sh FOLDER
#
# Only vLLM's Python files are used, so any build of torch serves. The one for the CPU is the
# smallest: where your package index carries the one for CUDA, set PIP_INDEX_URL or
# PIP_EXTRA_INDEX_URL to an index with CPU builds. Made once; made anew when this folder changes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
version=0.33.0

wanted=$(cat "$here/requirements.txt" "$here/install.sh" | cksum)
if [ "$(cat "$folder/.made" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
echo "making the environment of vLLM $version in $1 (about two minutes)"
rm -rf "$folder/venv" "$folder/vllm" "$folder/metadata" "$folder/wheels" "$folder/.made"
"${PYTHON:-python3}" -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# The wheel's compiled parts are for a GPU and are not unpacked.
pip download --quiet --no-deps --dest "$folder/wheels" "vllm==$version" &
download=$!
pip install --quiet --no-compile --requirement "$here/requirements.txt"
wait "$download"
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json, sys, zipfile
from pathlib import Path

from tokenizers import Tokenizer, models

folder = Path(sys.argv[1])
(wheel,) = (folder / "wheels").glob("vllm-*.whl")
with zipfile.ZipFile(wheel) as archive:
    wanted = [n for n in archive.namelist() if n.startswith("vllm/") and n.endswith((".py", ".json"))]
    archive.extractall(folder / "vllm", wanted)

# The scheduler wants a model: any will do.
(folder / "model").mkdir(exist_ok=True)
words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
words.save(str(folder / "model/tokenizer.json"))
described = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
(folder / "model/tokenizer_config.json").write_text(json.dumps(described))
sizes = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "vocab_size": 32000,
         "num_attention_heads": 8, "num_key_value_heads": 4, "max_position_embeddings": 4096}
named = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16"}
(folder / "model/config.json").write_text(json.dumps(named | sizes))
PYTHON
rm -rf "$folder/wheels"

# vLLM asks for its own version, and transformers for torchvision's, which it never uses here.
describe() {
    mkdir -p "$folder/metadata/$1-$2.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\n' "$1" "$2" \
        >"$folder/metadata/$1-$2.dist-info/METADATA"
}
describe vllm "$version+cpu"
describe torchvision 0.28.0
echo "$wanted" >"$folder/.made"
