#!/usr/bin/env bash
# Print an overlay with every image by its digest, so that what was tested is what runs:
#   k8s-manifests/pin_images.sh k8s-manifests/overlays/production > my-otaku-friend.yaml
# Renders with kustomize or kubectl, asks the registries by skopeo (SKOPEO_OPTIONS) or docker buildx imagetools.
set -euo pipefail
overlay=${1:?usage: pin_images.sh OVERLAY}
if command -v kustomize >/dev/null; then rendered=$(kustomize build "$overlay")
else rendered=$(kubectl kustomize "$overlay"); fi
read -r -a options <<<"${SKOPEO_OPTIONS:-}"
digest_of() {
    if command -v skopeo >/dev/null; then skopeo inspect --format '{{.Digest}}' "${options[@]}" "docker://$1"
    else docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"; fi
}
while read -r image; do
    [[ $image != *@sha256:* ]] || continue
    digest=$(digest_of "$image")
    [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$image has no digest: '$digest'" >&2; exit 1; }
    rendered=${rendered//"image: $image"/"image: $image@$digest"}
done < <(sed -n 's/^ *\(- \)\{0,1\}image: //p' <<<"$rendered" | sort --unique)
printf '%s\n' "$rendered"
