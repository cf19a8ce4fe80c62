#!/bin/sh
# create_venv.sh PYTHON VENV UV_VERSION: create a virtual environment of Python 3.11 with uv in it.
# Where PYTHON is missing, uv fetches a Python 3.11 of its own; uv itself comes from PATH or through any Python 3.
set -eu
python=$1 venv=$2 uv_version=$3

fail() {
    echo "Python 3.11 is needed ($1). This installs one:" >&2
    echo "    curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv python install 3.11" >&2
    echo "Then run make again; or name an interpreter with make PYTHON=/path/to/python3.11." >&2
    exit 1
}

find_uv() {
    for candidate in uv "$HOME/.local/bin/uv" "$venv-uv/bin/uv"; do
        command -v "$candidate" && return
    done
    python3 -m venv "$venv-uv" >/dev/null 2>&1 || fail "there is neither $python, nor uv, nor a python3 with venv"
    "$venv-uv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version" >&2 \
        || fail "there is no $python, and pip could not install uv"
    echo "$venv-uv/bin/uv"
}

if [ ! -x "$venv/bin/python" ]; then
    if "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        "$python" -m venv "$venv"
    elif [ "$python" = python3.11 ]; then
        uv=$(find_uv)
        echo "There is no python3.11 here: uv fetches one." >&2
        "$uv" venv --quiet --python 3.11 --seed "$venv" || fail "uv could not fetch one"
    else
        fail "$python is none"
    fi
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
