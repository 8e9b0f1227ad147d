#!/bin/sh
# Make .venv and install what requirements.lock pins. Where that was done for this lock, do nothing.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "featurescope: $*" >&2
    exit 1
}

good() { # whether $1 is a Python that is new enough
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if [ -x .venv/bin/python ] && cmp -s requirements.lock .venv/installed.lock && good .venv/bin/python; then
    exit 0
fi

python=${PYTHON:-}
if [ -n "$python" ]; then
    good "$python" || fail "PYTHON=$python is not Python 3.11 or newer: name one that is, as in PYTHON=/usr/bin/python3.12."
else
    for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
        if good "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "no Python 3.11 or newer was found: install one, or name it, as in PYTHON=/opt/python3.12/bin/python3."
fi

free=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "${free:-0}" -ge 3145728 ] || fail "installing needs 3 GiB of free disk here, and $((free / 1024)) MiB are free."

if ! good .venv/bin/python; then
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$python cannot make virtual environments: install its venv package (on Debian: apt-get install python3-venv)."
    echo "Making .venv with $("$python" --version) …"
    "$python" -m venv --clear .venv || fail "$python could not make .venv; the reason is above."
fi

echo "Installing what requirements.lock pins; the first time takes some minutes …"
rm -f .venv/installed.lock
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --progress-bar on -r requirements.lock ||
    fail "installing failed; the reason is above. Is a package index within reach?"
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . ||
    fail "installing Featurescope itself failed; the reason is above."
cp requirements.lock .venv/installed.lock
