#!/usr/bin/env bash
# Everything that wants a GPU, in one go: tests, speed, a training, rows of the paper's table.
#
#   MEMORYWRAP_DATA=data bench/gpu.sh [FOLDER]     (default: runs/gpu, runs/gpu-quick)
#
# Within $MINUTES (9), and resumable: what is done is not done again, and what was cut off goes on. FOLDER then
# holds summary.md and results.tar.gz, which are small and all that needs to be taken away; with results.tar.gz in
# FOLDER, another machine does not repeat what this one did (a training that was cut off begins anew there, as its
# state is too large to travel). $DEVICE is cuda, $PYTHON a Python with what requirements-dev.txt lists.
# DEVICE=cpu QUICK=1 tries it all out in small on a machine without a GPU, with SLOW=10 on a busy one. The exit code is
# 1 where a step failed, not where one was cut off.
set -u
cd "$(dirname "$0")/.."
out=${1:-runs/gpu${QUICK:+-quick}}
device=${DEVICE:-cuda}
python=${PYTHON:-.venv/bin/python}
command -v "$python" > /dev/null || python=python3
deadline=$((SECONDS + 60 * ${MINUTES:-9}))
mkdir -p "$out"
if [ -e "$out/results.tar.gz" ] && ! ls "$out"/*.done > /dev/null 2>&1; then # from another machine
    tar -xzf "$out/results.tar.gz" -C "$out"
fi
export PYTHONUNBUFFERED=1

memorywrap=("$python" -m memorywrap.commands.main)
batches=(1 8 32 128) samples=(1000 2000) table=(paper-cifar10) repeats=30
only=(compact whitened mobilenet_v2_cifar)
learner=(--encoder resnet18 --epochs 24 --set batch=512)
if [ -n "${QUICK:-}" ]; then
    batches=(1 2) samples=(1000) table=(paper-cifar10 --set epochs=1 --set batch=256 --encoder compact) repeats=1
    only=(compact) learner=(--encoder compact --samples 200 --epochs 1)
fi
failed=0

# step NAME SECONDS COMMAND...: once, in at most so many seconds and within what is left. Its words go to NAME.txt.
step() {
    local name=$1 most=$(($2 * ${SLOW:-1})) left=$((deadline - SECONDS)) began=$SECONDS code
    shift 2
    [ -e "$out/$name.done" ] && return 0
    if [ "$left" -lt 20 ]; then
        echo "$name: no time left, run this again"
        return 1
    fi
    [ "$left" -gt "$most" ] && left=$most
    timeout --signal=INT --kill-after=15 "$left" "$@" > "$out/$name.txt" 2>&1
    code=$?
    if [ "$code" = 0 ]; then
        touch "$out/$name.done"
        echo "$name: done in $((SECONDS - began)) s"
    elif [ "$code" = 124 ]; then
        echo "$name: cut off after $((SECONDS - began)) s, run this again"
    else
        failed=1
        echo "$name: ended with code $code after $((SECONDS - began)) s, see $out/$name.txt"
    fi
    return "$code"
}

if [ "$device" = cuda ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "there is no GPU here that torch can use: DEVICE=cpu QUICK=1 tries the script out" >&2
    exit 2
fi

step tests 120 "$python" -m pytest -q -p no:cacheprovider -k "cuda or gpu or device" tests/test_layer.py \
    tests/test_classifier.py tests/test_devices.py tests/training/test_chance.py
step bench 150 "${memorywrap[@]}" bench --device "$device" --batches "${batches[@]}" --repeats "$repeats" --markdown
step encoders 60 "$python" -m bench.encoders --device "$device" --repeat 3 --only "${only[@]}"
# How far the fast recipe comes with CIFAR-10, and when; the summary says when it was at 94 %.
step training 240 "${memorywrap[@]}" train --data cifar10 "${learner[@]}" --device "$device" --out "$out/training"
for size in "${samples[@]}"; do
    for variant in memory-wrap std baseline; do
        step "row-$size-$variant" 540 "${memorywrap[@]}" replicate "${table[@]}" --samples "$size" \
            --variants "$variant" --seeds 1 --device "$device" --out "$out/rows" || break 2
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
    if [ -e "$out/training/metrics.csv" ]; then
        printf '\n## the training\n\n'
        "$python" -m bench.until "$out/training" 94
    fi
} > "$out/summary.md"
# Weights and states are large: what is taken away is what was measured, and what is done.
(cd "$out" && find . -name "*.json" -o -name "*.csv" -o -name "*.md" -o -name "*.txt" -o -name "*.done" |
    tar -czf results.tar.gz -T -)
echo "summary: $out/summary.md, results: $out/results.tar.gz"
exit "$failed"
