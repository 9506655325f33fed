#!/usr/bin/env bash
# Measure one GPU: first its kernels (fitcalc calibrate), then vLLM itself on it, with random weights.
#
#   calibration/run_gpu.sh OUT [kernels|serving|all]
#
# OUT is the GPU's folder, such as calibration/measurements/h200-sxm. What stands in it is not
# measured again: a run that was cut short goes on when it is called again. Settings, by environment:
#
#   PYTHON   the Python that has torch, vLLM and what fitcalc needs   (python3)
#   DEVICE   the GPU to measure                                       (cuda:0)
#   MINUTES  longest time to measure kernels                          (5)
#   LIMIT_S  start nothing more after this many seconds               (no limit)
#   PORT     where the server listens, on this machine only           (8765)
#   CONFIGS  model:format pairs to serve                              (the four below)
#   SERVE    further options of vllm serve                            (none)
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}"
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_USE_FLASHINFER_SAMPLER="${VLLM_USE_FLASHINFER_SAMPLER:-0}"

[ $# -ge 1 ] || { echo "give a folder: run_gpu.sh OUT [kernels|serving|all]" >&2; exit 2; }
what=${2:-all}
case $what in kernels | serving | all) ;; *) echo "give kernels, serving or all, not $what" >&2; exit 2 ;; esac
mkdir -p "$1"
out=$(cd "$1" && pwd)
python=${PYTHON:-python3}
port=${PORT:-8765}
url=http://127.0.0.1:$port
read -ra configs <<<"${CONFIGS:-llama-3.1-8b:bf16 qwen3-8b:fp8 llama-3.1-8b:fp8 qwen3-8b:bf16}"
read -ra further <<<"${SERVE:-}"

mixes=(1024:128 256:256)          # input:output tokens, each uniform from 0.8 to 1 of that
concurrencies=(1 16 64 256 4)     # closed loops; a cut run has the ends first
rates=(4 16)                      # open loops, requests a second, of the first mix
prompts_per_client=10
open_loop_s=20
start_s=900                       # the first start compiles for minutes

server=
work=$(mktemp -d)
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work" "$out/server.pid"
}
trap finish EXIT
trap 'exit 130' INT TERM

vllm() { "$python" -m vllm.entrypoints.cli.main "$@"; }

in_time() { # whether there is time for more
    [ -z "${LIMIT_S:-}" ] || [ "$SECONDS" -lt "$LIMIT_S" ] || {
        echo "time is up: call this again, and it goes on" >&2
        return 1
    }
}

fetch() { # FILE URL
    "$python" -c 'import sys, urllib.request as u
open(sys.argv[1], "wb").write(u.urlopen(sys.argv[2], timeout=30).read())' "$1" "$2" 2>/dev/null
}

kernels() {
    "$python" -m fitcalc calibrate --device "${DEVICE:-cuda:0}" --out "$out" --minutes "${MINUTES:-5}"
}

machine() { # what ran it
    "$python" -c 'import vllm' || { echo "$python has no vLLM: set PYTHON to one that has" >&2; exit 2; }
    {
        "$python" -c 'from importlib.metadata import version as v
print("vllm", v("vllm"), "torch", v("torch"))' || true
        nvidia-smi --query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm --format=csv || true
    } >"$out/serving/machine.txt" 2>/dev/null
}

stop_stale() { # a server that an earlier, killed run left behind
    local pid
    pid=$(cat "$out/server.pid" 2>/dev/null) || return 0
    if grep -aq vllm "/proc/$pid/cmdline" 2>/dev/null; then
        kill "$pid" && sleep 10
    fi
}

start() { # MODEL FORMAT FOLDER
    local folder=$3 options=(
        --load-format dummy --max-model-len 8192 --max-num-seqs 256 --max-num-batched-tokens 8192
        --gpu-memory-utilization 0.9 --no-enable-prefix-caching --host 127.0.0.1 --port "$port"
    )
    [ "$2" = bf16 ] || options+=(--quantization "$2")
    options+=("${further[@]}")
    "$python" -m fitcalc.calibrate.bench.stand_in "$1" "$work/$1"
    echo "vllm serve $1 ${options[*]}" >>"$folder/command.txt"
    "$python" -m vllm.entrypoints.cli.main serve "$work/$1" --served-model-name "$1" "${options[@]}" \
        >"$work/server.log" 2>&1 &
    server=$!
    echo "$server" >"$out/server.pid"
    local begun=$SECONDS
    until fetch /dev/null "$url/health"; do
        if ! kill -0 "$server" 2>/dev/null || [ $((SECONDS - begun)) -gt "$start_s" ]; then
            cp "$work/server.log" "$folder/failed-start.log"
            echo "$1 $2 does not start: see $folder/failed-start.log" >&2
            return 1
        fi
        sleep 2
    done
    echo "ready after $((SECONDS - begun)) s" >>"$folder/command.txt"
    grep -aiE 'memory|KV cache|concurrency|graph|GiB|took|backend' "$work/server.log" >"$folder/startup.log" || true
    fetch "$folder/metrics-start.prom" "$url/metrics"
}

stop() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
    rm -f "$out/server.pid"
}

load() { # MODEL FOLDER NAME ISL OSL PROMPTS OPTION...: one load, unless its result stands
    local model=$1 folder=$2 name=$3 isl=$4 osl=$5 prompts=$6
    shift 6
    # shellcheck disable=SC2054 # the commas are vLLM's
    local options=(
        --backend vllm --base-url "$url" --endpoint /v1/completions --model "$model" --tokenizer "$work/$model"
        --dataset-name random --random-input-len $((isl * 9 / 10)) --random-output-len $((osl * 9 / 10))
        --random-range-ratio 0.111 # from 0.8 to 1 of isl and osl
        --ignore-eos --num-prompts "$prompts" --num-warmups 4 --seed 0 "$@"
        --percentile-metrics ttft,tpot,itl,e2el --metric-percentiles 50,90,95,99
        --save-result --result-dir "$work" --result-filename "$name.json"
    )
    if vllm bench serve "${options[@]}" >"$work/$name.log" 2>&1 && [ -s "$work/$name.json" ]; then
        echo "vllm bench serve ${options[*]}" | sed "s#$work#WORK#g" >>"$folder/command.txt"
        mv "$work/$name.json" "$folder/$name.json"
        echo "$folder/$name.json"
    else
        cp "$work/$name.log" "$folder/failed-$name.log"
        echo "$model $name failed: see $folder/failed-$name.log" >&2
    fi
}

loads() { # one line a load: NAME ISL OSL PROMPTS OPTIONS
    local mix isl osl clients rate
    for clients in "${concurrencies[@]}"; do
        for mix in "${mixes[@]}"; do
            isl=${mix%:*} osl=${mix#*:}
            echo "isl$isl-osl$osl-clients$clients $isl $osl $((clients * prompts_per_client)) --max-concurrency $clients"
        done
    done
    for rate in "${rates[@]}"; do
        isl=${mixes[0]%:*} osl=${mixes[0]#*:}
        echo "isl$isl-osl$osl-rate$rate $isl $osl $((rate * open_loop_s)) --request-rate $rate"
    done
}

serving() {
    local config model format folder lines line words
    mkdir -p "$out/serving"
    stop_stale
    machine
    for config in "${configs[@]}"; do
        model=${config%:*} format=${config#*:} folder=$out/serving/${config/:/-}
        mkdir -p "$folder"
        lines=()
        while read -r line; do
            [ -s "$folder/${line%% *}.json" ] || lines+=("$line")
        done < <(loads)
        [ ${#lines[@]} -gt 0 ] || continue
        in_time || return 0
        start "$model" "$format" "$folder" || { stop; continue; }
        for line in "${lines[@]}"; do
            in_time || return 0
            read -ra words <<<"$line"
            load "$model" "$folder" "${words[@]}"
        done
        fetch "$folder/metrics-end.prom" "$url/metrics" || true
        stop
    done
}

[ "$what" = serving ] || kernels
[ "$what" = kernels ] || serving
if [ -e "$out/facts.toml" ] && compgen -G "$out/serving/*/isl*-clients*.json" >/dev/null; then
    "$python" -m fitcalc.calibrate.bench.served "$out"
fi
