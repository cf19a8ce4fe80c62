#!/bin/sh
# Remove from the environment of an image what nothing there runs: tests, headers, debug symbols, clients of services that
# are not used.
set -eu
packages=/opt/otaku/lib/python3.11/site-packages
before=$(du --summarize --block-size=1M "$packages" | cut -f 1)
# What packages bring for their own developers. numpy and torch import some of their tests' helpers from elsewhere.
find "$packages" -type d -name tests -prune -exec rm -r {} +
rm -rf "$packages/onnx/backend/test" "$packages/torch/test"
# For those who compile against a package.
rm -rf "$packages/pyarrow/include" "$packages/pyarrow/src" "$packages/torch/include" "$packages/torch/share"
find "$packages" -type f \( -name '*.pxd' -o -name '*.pyx' -o -name '*.a' \) -delete
find "$packages/torch" -type f -path '*/torch/bin/*' -not -name torch_shm_manager -delete 2>/dev/null || true
# Arrow's network protocol; pyarrow is linked against everything else.
find "$packages/pyarrow" -name '*flight*' -exec rm -r {} +
# Of Amazon's hundreds of services: S3, and what gives a pod its credentials.
find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d -not -name s3 -not -name sts -not -name 'sso*' \
    -exec rm -r {} +
# ONNX Runtime for programs in C, a second time.
rm -f "$packages"/onnxruntime/capi/libonnxruntime.so.*
# MLflow's client speaks to Databricks only where it is told to.
rm -rf "$packages/databricks/sdk"
# Libraries that were linked for their wheel, not patched afterwards, so that stripping them is safe.
find "$packages" -type f \( -name libllvmlite.so -o -name 'libarrow.so.*' -o -name libtorch_cpu.so \
    -o -name libtorch_python.so -o -name '_rust.abi3.so' -o -path '*/uvloop/*.so' \) -exec strip --strip-unneeded {} +
echo "site-packages: $before MB, $(du --summarize --block-size=1M "$packages" | cut -f 1) MB without what is unused"
