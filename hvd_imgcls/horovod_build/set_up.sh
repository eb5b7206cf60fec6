#!/bin/sh
# The steps of `make setup` before the package itself can run. Plain sh, because there may be
# no usable Python yet. Every step can be repeated after an interruption.
#
#   set_up.sh venv PYTHON VENV       checks the machine, creates the virtual environment
#   set_up.sh packages VENV          installs requirements.lock
#   set_up.sh project VENV           installs the project itself, editable
set -eu

# TensorFlow and the other packages take 2.4 GB in VENV, pip's download cache 0.8 GB and the
# build of Horovod 0.6 GB in the user's cache (measured 2026-11-21).
needed_gb=5

problems=''

problem() { # WHAT FIX
    problems="${problems}error: $1
  to fix it: $2
"
}

is_supported() { # PYTHON
    "$1" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' \
        >/dev/null 2>&1
}

version_of() { # PYTHON
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])'
}

# Sets $python to PYTHON if it is supported. Only for the default, other names are tried as well.
find_python() { # PYTHON
    python=$1
    is_supported "$1" && return
    if [ "$1" = python3 ]; then
        for python in python3.11 python3.12 python3.13; do
            if is_supported "$python"; then
                echo "python3 is $(version_of python3); using $python, $(version_of "$python")"
                return
            fi
        done
    fi
    python=''
    if command -v "$1" >/dev/null 2>&1 && ! "$1" -c '' 2>/dev/null; then
        what="$1 does not run; supported are Python 3.11, 3.12 and 3.13"
    elif command -v "$1" >/dev/null 2>&1; then
        what="$1 is Python $(version_of "$1"); supported are 3.11, 3.12 and 3.13"
    else
        what="$1 was not found; supported are Python 3.11, 3.12 and 3.13"
    fi
    offered=$(offered_python)
    problem "$what" "sudo apt-get install $offered $offered-venv, or choose another one: make PYTHON=/path/to/$offered"
}

# The newest supported Python that is a package of this system, as far as apt knows.
offered_python() {
    for version in 3.13 3.12 3.11; do
        if [ -n "$(apt-cache search --names-only "^python$version\$" 2>/dev/null)" ]; then
            echo "python$version"
            return
        fi
    done
    echo python3.13
}

check_machine() { # PYTHON VENV
    find_python "$1"
    if [ -n "$python" ] && ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        problem "$python has no venv module, which creates the virtual environment" \
            "sudo apt-get install python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    # CXX may hold flags after the name of the program.
    compiler=${CXX:-c++}
    if ! command -v "${compiler%% *}" >/dev/null 2>&1 && ! command -v g++ >/dev/null 2>&1 &&
        ! command -v clang++ >/dev/null 2>&1; then
        problem 'no C++ compiler was found (c++, g++ or clang++); Horovod has to be compiled' \
            'sudo apt-get install g++'
    fi
    free_kb=$(df -Pk "$(dirname "$2")" | awk 'NR == 2 { print $4 }')
    if [ "$free_kb" -lt $((needed_gb * 1000 * 1000)) ]; then
        problem "$(dirname "$2") has $((free_kb / 1000)) MB free, the environment needs $((needed_gb * 1000)) MB" \
            'free some space (df -h shows the disks)'
    fi
    if [ -n "$problems" ]; then
        printf '%s' "$problems" >&2
        exit 2
    fi
}

# Runs a command with its output in a log, and prints every 15 s that it is still running.
run_logged() { # WHAT COMMAND...
    what=$1
    shift
    log=$(mktemp)
    pid=
    trap 'test -z "$pid" || kill "$pid"; rm -f "$log"' EXIT
    trap 'exit 130' INT TERM
    "$@" >"$log" 2>&1 &
    pid=$!
    seconds=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ $((seconds % 15)) -eq 0 ]; then
            echo "  $what: $seconds s"
        fi
    done
    if wait "$pid"; then
        pid=
    else
        pid=
        explain_failure >&2
        exit 2
    fi
}

explain_failure() {
    again='run the same command again; steps that are finished are not repeated'
    if grep -qiE 'No space left on device|Disk quota exceeded' "$log"; then
        echo "error: $what failed: the disk is full"
        echo "  to fix it: free some space, then $again"
    elif grep -qE 'NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Network is unreachable|from versions: none' "$log"; then
        echo "error: $what failed: pip cannot reach its package index"
        echo "  to fix it: check the network (and pip config list), then $again"
    else
        echo "error: $what failed; the end of pip's output:"
        tail -n 15 "$log" | sed 's/^/    /'
        echo "  to fix it: correct what it names, then $again"
    fi
}

step=$1
shift
case $step in
venv)
    check_machine "$1" "$2"
    echo "creating the virtual environment $2 with Python $(version_of "$python") (10 s)"
    run_logged 'creating the virtual environment' "$python" -m venv --clear "$2"
    ;;
packages)
    echo 'installing the pinned packages, including TensorFlow (0.8 GB, 1 to 5 minutes)'
    run_logged 'installing the pinned packages' \
        "$1/bin/python" -m pip install --disable-pip-version-check --retries 2 \
        --require-hashes --requirement requirements.lock
    ;;
project)
    echo 'installing the project itself (10 s)'
    run_logged 'installing the project' \
        "$1/bin/python" -m pip install --disable-pip-version-check --retries 2 \
        --no-deps --editable .
    ;;
*)
    echo "set_up.sh: unknown step $step" >&2
    exit 2
    ;;
esac
