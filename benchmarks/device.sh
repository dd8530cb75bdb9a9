#!/usr/bin/env bash
# device.sh: everything that only a CUDA card can show, in one call of at most 6 minutes:
#
#     bash benchmarks/device.sh > card.md
#     bash benchmarks/device.sh --rehearse      the same on a processor, with small sizes
#
# prints Markdown tables with the card's name. PYTHON names the interpreter (default python3); PICTURES a
# folder of pictures to predict on. A part that fails or takes too long is said and left; the others run.
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

part() { # seconds, then what to run
    local limit=$1
    shift
    [[ $* != *--rehearse* ]] || limit=$((3 * limit)) # a processor takes longer over what it is not for
    printf '\n## %s\n\n' "$1"
    timeout "$limit" "$python" benchmarks/device.py "$@" --folder "$work" 2>"$work/errors" ||
        printf '\nnot finished (code %s): %s\n' "$?" "$(tail -n 1 "$work/errors")"
}

part 20 card "$@"
part 45 parity "$@"
part 70 similarity "$@"
part 110 training "$@"
part 25 loading "$@"
part 90 commands "$@"
