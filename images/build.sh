#!/usr/bin/env bash
# Build both images with Docker or Podman, write their bills of materials, and print their sizes:
#   images/build.sh [app|jobs]...
# ENGINE         docker or podman; by default Docker where its daemon answers, else Podman.
# PYTHON_IMAGE   the base, best by digest; where it cannot be pulled, Podman gets one from images/base.sh.
# TORCH_BACKEND  cpu by default, or empty where PIP_FIND_LINKS holds a wheel of torch.
# OUTPUT         folder of the bills of materials, build/images by default.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
((${#targets[@]})) || targets=(app jobs)
version=$(sed -n 's/^version = //p' setup.cfg)
revision=$(git rev-parse HEAD 2>/dev/null || true)
base=${PYTHON_IMAGE:-docker.io/library/python:3.11-slim}
output=${OUTPUT:-build/images}
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

engine=${ENGINE:-}
if [[ -z $engine ]]; then
    if docker info >/dev/null 2>&1; then engine=docker
    elif command -v podman >/dev/null; then engine=podman
    else echo "skipped: neither a Docker daemon nor Podman is here to build images" && exit 0; fi
fi

# How this machine reaches its package registries is mounted while a layer is made, and is part of no layer.
settings=$(mktemp -d)
trap 'rm -rf "$settings"' EXIT
machine=()
wheels=${PIP_FIND_LINKS:-}
backend=${TORCH_BACKEND-cpu}
if [[ $engine == podman ]]; then
    certificates=${SSL_CERT_FILE:-}
    {
        [[ -z $certificates ]] || echo 'system-certs = true'
        [[ ! -d $wheels ]] || echo "find-links = [\"$wheels\"]"
    } >"$settings/uv.toml"
    { echo "[global]"; [[ -z $certificates ]] || echo "cert = $certificates"; } >"$settings/pip.conf"
    machine+=(--volume "$settings/uv.toml:/etc/uv/uv.toml:ro" --volume "$settings/pip.conf:/etc/pip.conf:ro")
    [[ -z $certificates ]] || machine+=(--volume "$certificates:/etc/ssl/certs/ca-certificates.crt:ro")
    [[ ! -d $wheels ]] || machine+=(--volume "$wheels:$wheels:ro")
    if [[ -z ${TORCH_BACKEND+set} ]] && compgen -G "$wheels/torch-*.whl" >/dev/null; then backend=""; fi
    machine+=(--format docker --pull=missing)
    podman image exists "$base" || podman pull --quiet "$base" || images/base.sh "$base"
fi

mkdir -p "$output"
for target in "${targets[@]}"; do
    tag=my-otaku-friend-$target:$version
    started=$SECONDS
    "$engine" build "${machine[@]}" --target "$target" --tag "$tag" --build-arg "PYTHON_IMAGE=$base" \
        --build-arg "TORCH_BACKEND=$backend" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" .
    bytes=$("$engine" image inspect --format '{{.Size}}' "$tag")
    echo "$tag: $((bytes / 1000000)) MB unpacked, built in $((SECONDS - started)) s"
    images/sbom.sh "$engine" "$tag" "$output/$target.cdx.json"
done
