# Two images: `app` answers HTTP; `jobs` runs the daily and the weekly job, Airflow, MLflow's server and the command line.
#   make images                           both, with Docker or Podman, whichever is there
#   docker build --target app  --tag my-otaku-friend-app .
#   docker build --target jobs --tag my-otaku-friend-jobs .
# For labels and recipes: --build-arg VERSION=… --build-arg REVISION=$(git rev-parse HEAD)
# For a build that can be repeated, name the base by digest: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:…
# checkov:skip=CKV_DOCKER_7:the tag, or better the digest, is in the argument
ARG PYTHON_IMAGE=python:3.11-slim

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION=0.13.9
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON=/opt/otaku/bin/python VIRTUAL_ENV=/opt/otaku
# The base fixes the release of Debian, and what is installed here does not reach an image. Debian's own Python, unlike
# the one of python:3.11-slim, has its headers in a package.
# hadolint ignore=DL3008,SC2046
RUN apt-get update && apt-get install --yes --no-install-recommends binutils g++ patchelf \
        $(test -x /usr/local/bin/python || echo python3.11-dev) \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
# hnswlib and LightFM have no wheels; without the options they are compiled for the processor of the build alone.
ENV HNSWLIB_NO_NATIVE=1 LIGHTFM_NO_CFLAGS=1
RUN python -m pip install --no-cache-dir "uv==${UV_VERSION}" && python -m venv --without-pip /opt/otaku
WORKDIR /build
COPY images/prune.sh ./

FROM builder AS app-builder
# The lock first: a change of the code alone reuses the layer with the dependencies.
COPY requirements/app.txt requirements/
RUN uv pip install --requirements requirements/app.txt && ./prune.sh app
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY recsys/ recsys/
COPY app/ app/
# Nothing can be written at run time. Bytecode of what a service loads lets it start fast; all of it would be 90 MB.
WORKDIR /opt/otaku/lib/python3.11/site-packages
RUN uv pip install --no-deps /build && python -m compileall -q app recsys \
    && /opt/otaku/bin/python -c "import app.server, app.models.serving, hnswlib, llvmlite.binding, mlflow.tracking, \
        numba, onnxruntime, pyarrow.dataset, recsys.storage.registry, scipy.sparse.csgraph, scipy.sparse.linalg; \
        from sqlalchemy.dialects import postgresql"

FROM builder AS jobs-builder
# `cpu` takes torch from PyTorch's own index, without CUDA's gigabytes; empty takes what the configured index has.
ARG TORCH_BACKEND=cpu
COPY requirements/jobs.txt requirements/
RUN uv pip install --compile-bytecode ${TORCH_BACKEND:+--torch-backend "${TORCH_BACKEND}"} \
        --requirements requirements/jobs.txt && ./prune.sh jobs
COPY requirements/postgresql.txt requirements/
COPY images/add_postgresql_tools.sh ./
RUN ./add_postgresql_tools.sh
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY recsys/ recsys/
COPY simulate_new_users/ simulate_new_users/
COPY retrain_model/ retrain_model/
COPY app/ app/
COPY otaku/ otaku/
# What was removed above must be missed by nothing.
WORKDIR /opt/otaku
RUN uv pip install --no-deps --compile-bytecode /build && bin/python -c "import airflow, implicit, lightfm, mlflow, \
        onnx, otaku.cli, pyarrow.dataset, pyarrow.parquet, retrain_model.job, sentence_transformers, simulate_new_users.job"

# What both run on: no compiler, no package manager for Python, no root, nothing written outside /tmp.
# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS runtime
# LightGBM is linked against the system's OpenMP; tini passes signals on and reaps what a job leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && python -m pip uninstall --yes --root-user-action ignore pip setuptools wheel \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin otaku \
    # A volume that is mounted here belongs to that user.
    && install --directory --owner otaku --group otaku /var/lib/otaku
ENV PATH=/opt/otaku/bin:$PATH \
    HOME=/tmp \
    OTAKU_HOME=/tmp/otaku \
    OTAKU_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
ARG VERSION=unknown
ARG REVISION=""
ENV OTAKU_REVISION=${REVISION}
LABEL org.opencontainers.image.title="My Otaku Friend" \
      org.opencontainers.image.description="An anime recommender platform that retrains itself" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM runtime AS jobs
ENV AIRFLOW_HOME=/tmp/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/otaku/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/otaku/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=false
COPY --from=jobs-builder /opt/otaku /opt/otaku
COPY dags/ /opt/otaku/dags/
COPY plugins/ /opt/otaku/plugins/
# Any command: `otaku …`, `python -m retrain_model …`, `airflow scheduler`, and what the KubernetesExecutor asks for.
ENTRYPOINT ["tini", "--"]
CMD ["otaku", "--help"]
HEALTHCHECK NONE

# It listens on all addresses and refuses to start without OTAKU_API_KEYS, unless OTAKU_AUTH=none opens it on purpose.
FROM runtime AS app
COPY --from=app-builder /opt/otaku /opt/otaku
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
ENTRYPOINT ["tini", "--", "python", "-m", "app"]
