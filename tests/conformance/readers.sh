#!/usr/bin/env bash
# Unpack what reads a deployment beside vLLM: readers.sh FOLDER
#
# SGLang's argument parser runs in the environment of install.sh; of SkyPilot and KServe only the
# files with their schemas are read. Made once; made anew when this file changes.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
wanted=$(cksum <"${BASH_SOURCE[0]}")
if [ "$(cat "$folder/.readers" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
echo "unpacking the readers of deployments in $1"
rm -rf "$folder/readers" "$folder/downloads" "$folder/.readers"
"$folder/venv/bin/python" -m pip --disable-pip-version-check download --quiet --no-deps \
    --dest "$folder/downloads" sglang==0.5.23 skypilot==0.14.1 kserve==0.21.0 \
    orjson ipython traitlets
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys, zipfile
from pathlib import Path

folder = Path(sys.argv[1])
for wheel in (folder / "downloads").glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        compiled = wheel.name.startswith("orjson")
        names = [n for n in archive.namelist() if compiled or n.endswith((".py", ".json"))]
        archive.extractall(folder / "readers", names)
PYTHON
rm -rf "$folder/downloads"
echo "$wanted" >"$folder/.readers"
