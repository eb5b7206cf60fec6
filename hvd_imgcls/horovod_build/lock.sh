#!/bin/sh
# Writes requirements.lock and build-requirements*.txt: exact versions with hashes, no index.
#
#   lock.sh UV
set -eu

lock() { # UV HEADING INPUT OUTPUT [OPTION...]
    uv=$1 heading=$2 input=$3 output=$4
    shift 4
    # One file for all supported Pythons; 3.11 is the oldest.
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 \
        --generate-hashes --no-header --upgrade "$input" --output-file "$output.new" "$@"
    { printf '# %s\n' "$heading"; cat "$output.new"; } >"$output"
    rm "$output.new"
}

build=hvd_imgcls/horovod_build
lock "$1" 'What `make setup` installs, for every supported Python. `make lock` writes this from setup.cfg.' \
    setup.cfg requirements.lock --extra dev
lock "$1" 'What builds the Horovod wheel. `make lock` writes this from build-requirements.in.txt.' \
    $build/build-requirements.in.txt $build/build-requirements.txt
lock "$1" 'What builds Horovod with --gpu nccl besides. `make lock` writes this from build-requirements-cuda.in.txt.' \
    $build/build-requirements-cuda.in.txt $build/build-requirements-cuda.txt
