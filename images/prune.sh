#!/bin/sh
# Remove from the environment of an image what nothing there runs: tests, headers, debug symbols, clients of services that
# are not used.
#   images/prune.sh app|jobs
set -eu
image=${1:?usage: images/prune.sh app|jobs}
packages=${SITE_PACKAGES:-/opt/otaku/lib/python3.11/site-packages}
before=$(du --summarize --block-size=1M "$packages" | cut -f 1)
# What packages bring for their own developers. numpy and torch import some of their tests' helpers from elsewhere.
find "$packages" -type d -name tests -prune -exec rm -r {} +
rm -rf "$packages/onnx/backend/test" "$packages/torch/test"
# For those who compile against a package, test what they build on it, or check its types.
rm -rf "$packages/pyarrow/include" "$packages/pyarrow/src" "$packages/torch/include" "$packages/torch/share" \
    "$packages/numpy/_core/include" "$packages/numpy/distutils" "$packages/sqlalchemy/testing"
find "$packages" -type f \( -name '*.pxd' -o -name '*.pxi' -o -name '*.pyx' -o -name '*.pyi' -o -name '*.a' \
    -o -name '*.c' -o -name '*.h' -o -name '*.hpp' \) -delete
find "$packages/torch" -type f -path '*/torch/bin/*' -not -name torch_shm_manager -delete 2>/dev/null || true
# Arrow's network protocol; pyarrow is linked against everything else, by the name that each library calls itself.
find "$packages/pyarrow" -name '*flight*' -exec rm -r {} +
rm -f "$packages"/pyarrow/libarrow_python*.so "$packages"/pyarrow/libarrow_python*.so.*.*.*
# Of Amazon's hundreds of services: S3, and what gives a pod its credentials.
find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d -not -name s3 -not -name sts -not -name 'sso*' \
    -exec rm -r {} +
# ONNX Runtime for programs in C, a second time, and what makes models for it.
rm -f "$packages"/onnxruntime/capi/libonnxruntime.so.*
rm -rf "$packages/onnxruntime/quantization" "$packages/onnxruntime/tools" "$packages/onnxruntime/transformers"
# MLflow's client speaks to Databricks only where it is told to.
rm -rf "$packages/databricks/sdk"
if [ "$image" = app ]; then
    # What Databricks' client needs besides. Nothing is encrypted here but by TLS, which is Python's own.
    rm -rf "$packages"/cryptography "$packages"/cryptography-*.dist-info "$packages"/google/auth "$packages"/google/oauth2 \
        "$packages"/google_auth-*.dist-info
    # Statistics and whatever only they import; the service reads decisions and makes none.
    for part in cluster constants datasets differentiate fft fftpack integrate interpolate io misc ndimage odr optimize \
        signal spatial special stats; do
        rm -r "$packages/scipy/$part"
    done
    rm -r "$packages/numba/cuda"
    # Reloading while code is edited, WebSockets, and repositories of code.
    rm -rf "$packages"/watchfiles "$packages"/watchfiles-* "$packages"/websockets "$packages"/websockets-* \
        "$packages"/git "$packages"/gitdb "$packages"/smmap "$packages"/GitPython-* "$packages"/gitpython-* \
        "$packages"/gitdb-* "$packages"/smmap-*
fi
# Symbols that only debuggers and linkers read. strip breaks some of the libraries that were patched after they had been
# linked: their segments are no longer where pages begin, and those libraries stay as they are.
is_aligned() {
    readelf --program-headers --wide "$1" | grep ' LOAD ' | while read -r _ offset address rest; do
        [ $(((address - offset) % ${rest##* })) -eq 0 ] || exit 1
    done
}
find "$packages" -type f -name '*.so*' | while read -r library; do
    if strip --strip-unneeded -o /tmp/stripped "$library" 2>/dev/null && is_aligned /tmp/stripped; then
        cat /tmp/stripped >"$library"
    fi
done
rm -f /tmp/stripped
echo "site-packages: $before MB, $(du --summarize --block-size=1M "$packages" | cut -f 1) MB without what is unused"
