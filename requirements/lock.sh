#!/usr/bin/env bash
# Resolve all locks anew as of one date: requirements/lock.sh 2026-09-01
set -euo pipefail
cd "$(dirname "$0")/.."
as_of=${1:?usage: requirements/lock.sh YYYY-MM-DD}
resolve() {
    uv pip compile --python-version 3.11 --exclude-newer "$as_of" --quiet --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --constraint requirements/constraints.txt "$@" |
        sed -E 's/^(torch==[0-9.]+)\+.*/\1/'
}
header="# Resolved as of $as_of by requirements/lock.sh; change setup.cfg and run it again instead of editing."
{
    echo "$header"
    resolve setup.cfg --extra app --extra train --extra scale --extra airflow --extra local --extra dev
} >requirements/platform.txt.new
{ echo "$header"; resolve setup.cfg --extra app; } >requirements/app.txt.new
# RecTools, whose metrics ours are compared with, wants an attrs that Airflow refuses: the tests give it a place of its own.
{ echo "# Resolved as of $as_of by requirements/lock.sh; for the tests of the metrics alone."; echo rectools | resolve -; } \
    >requirements/rectools.txt.new
mv requirements/platform.txt.new requirements/platform.txt
mv requirements/app.txt.new requirements/app.txt
mv requirements/rectools.txt.new requirements/rectools.txt
