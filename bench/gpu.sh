#!/usr/bin/env bash
# Everything that wants a GPU, in one go: tests, speed, a training, rows of the paper's table.
#
#   MEMORYWRAP_DATA=data bench/gpu.sh [FOLDER]     (default: runs/gpu)
#
# Within $MINUTES (9), and resumable: what is done is not done again, and what was cut off goes on. FOLDER then
# holds small files to take away: NAME.txt of each step, summary.md, and result.json and config.json of trainings.
# $DEVICE is cuda, $PYTHON the Python that the package is installed for. DEVICE=cpu QUICK=1 tries it all out in
# small on a machine without a GPU.
set -u
cd "$(dirname "$0")/.."
out=${1:-runs/gpu}
device=${DEVICE:-cuda}
python=${PYTHON:-.venv/bin/python}
command -v "$python" > /dev/null || python=python3
deadline=$((SECONDS + 60 * ${MINUTES:-9}))
mkdir -p "$out"
export PYTHONUNBUFFERED=1

memorywrap=("$python" -m memorywrap.cli)
batches=(1 8 32 128) samples=(1000 2000 5000 all) small=() table=(paper-cifar10) repeats=30
if [ -n "${QUICK:-}" ]; then
    batches=(1 2) samples=(1000) small=(--samples 200 --epochs 1) table=(paper-cifar10 --set epochs=1 --encoder compact) repeats=1
fi

# step NAME COMMAND...: once, within what is left of the time. Its words go to NAME.txt.
step() {
    local name=$1 left=$((deadline - SECONDS)) began=$SECONDS code
    shift
    [ -e "$out/$name.done" ] && return 0
    if [ "$left" -lt 20 ]; then
        echo "$name: no time left, run this again"
        return 1
    fi
    timeout --signal=INT --kill-after=15 "$left" "$@" > "$out/$name.txt" 2>&1
    code=$?
    grep -q 'was left out' "$out/$name.txt" && code=1  # data is missing
    if [ "$code" = 0 ]; then
        touch "$out/$name.done"
        echo "$name: done in $((SECONDS - began)) s"
    else
        echo "$name: ended with code $code after $((SECONDS - began)) s, see $out/$name.txt"
    fi
    return "$code"
}

if [ "$device" = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "there is no GPU here that torch can use: DEVICE=cpu QUICK=1 tries the script out" >&2
    exit 2
fi

step tests "$python" -m pytest -q -p no:cacheprovider -k "cuda or gpu or device" tests/test_layer.py \
    tests/test_classifier.py tests/test_devices.py tests/training/test_chance.py
step digits "${memorywrap[@]}" bench --device "$device" --batches "${batches[@]}" --repeats "$repeats" --markdown
step encoders "$python" -m bench.encoders --device "$device" --repeat 3 --only compact whitened mobilenet_v2_cifar
# How many seconds the fast recipe takes for CIFAR-10, and how far it comes.
step training "${memorywrap[@]}" train --data cifar10 --variant memory-wrap --encoder whitened --device "$device" \
    "${small[@]}" --out "$out/training"
for size in "${samples[@]}"; do
    for variant in memory-wrap std baseline; do
        step "row-$size-$variant" "${memorywrap[@]}" replicate "${table[@]}" --samples "$size" --variants "$variant" \
            --seeds 1 --device "$device" --out "$out/rows" || break 2
    done
done

{
    echo "# Measured by bench/gpu.sh"
    echo
    "$python" -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
"with torch", torch.__version__)'
    for file in "$out"/*.txt; do
        printf '\n## %s\n\n' "$(basename "$file" .txt)"
        tr '\r' '\n' < "$file" | grep -v 'it/s\|images/s\|s/it' | tail -n 40
    done
    if [ -e "$out/training/result.json" ]; then
        printf '\n## the training\n\n```json\n%s\n```\n' "$(cat "$out/training/result.json")"
    fi
} > "$out/summary.md"
# Weights are large: what is taken away is what was measured.
(cd "$out" && find . -name "*.json" | tar -czf results.tar.gz -T -)
echo "summary: $out/summary.md, results: $out/results.tar.gz"
