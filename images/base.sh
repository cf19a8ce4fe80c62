#!/usr/bin/env bash
# Make a stand-in for the base image from Debian's packages, where no image registry can be reached:
#   images/base.sh NAME
# What the Dockerfile expects of python:3.11-slim: Debian bookworm, `python` and pip on the path, certificates.
set -euo pipefail
name=${1:?usage: images/base.sh NAME}
command -v mmdebstrap >/dev/null || { echo "mmdebstrap is needed to make a base image without a registry" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Debian keeps pip out of its own Python; in an image that Python belongs to nobody else.
mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3-distutils,python3.11,python3.11-venv,usr-is-merged \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='ln --symbolic python3.11 "$1/usr/bin/python"' \
    --customize-hook='rm "$1/usr/lib/python3.11/EXTERNALLY-MANAGED"' \
    --customize-hook='chroot "$1" sh -c "set -- /usr/share/python-wheels/pip-*.whl
        python \"\$1/pip\" install --quiet --no-index --root-user-action ignore \"\$1\""' \
    --customize-hook='chroot "$1" apt-get purge --quiet --yes usrmerge perl "perl-modules-*" "libperl5*" "lib*-perl"' \
    bookworm "$folder/base.tar"
podman import --quiet --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["python"]' "$folder/base.tar" "$name"
