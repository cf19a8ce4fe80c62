# Two images from one builder: `app` answers HTTP, `jobs` holds the whole platform (daily job, weekly job, otaku).
#   docker build --target app  --tag my-otaku-friend-app .
#   docker build --target jobs --tag my-otaku-friend-jobs .
# For labels and recipes: --build-arg VERSION=… --build-arg REVISION=$(git rev-parse HEAD)
# For a build that can be repeated, name the base by digest: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS builder
ARG UV_VERSION=0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1
# hnswlib and LightFM have no wheels; without the options they are compiled for the processor of the build alone.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
ENV HNSWLIB_NO_NATIVE=1 LIGHTFM_NO_CFLAGS=1
RUN python -m pip install --no-cache-dir "uv==${UV_VERSION}" && python -m venv --without-pip /opt/otaku
WORKDIR /build
# The lock first: a change of the code alone reuses the layer with the dependencies.
COPY requirements/ requirements/

FROM builder AS app-builder
RUN uv pip install --python /opt/otaku/bin/python --requirements requirements/app.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY recsys/ recsys/
COPY app/ app/
RUN uv pip install --python /opt/otaku/bin/python --no-deps .

FROM builder AS jobs-builder
RUN uv pip install --python /opt/otaku/bin/python --requirements requirements/platform.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY recsys/ recsys/
COPY simulate_new_users/ simulate_new_users/
COPY retrain_model/ retrain_model/
COPY app/ app/
COPY otaku/ otaku/
RUN uv pip install --python /opt/otaku/bin/python --no-deps .

# What both run on: no compiler, no package manager for Python, no root, nothing written outside /tmp.
FROM ${PYTHON_IMAGE} AS runtime
# LightGBM is linked against the system's OpenMP.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes pip setuptools wheel \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin otaku
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
COPY --from=jobs-builder /opt/otaku /opt/otaku
COPY dags/ /opt/otaku/dags/
# A task says which module: docker run IMAGE retrain_model --as-of 2026-02-01
ENTRYPOINT ["python", "-m"]
CMD ["otaku", "--help"]

# It listens on all addresses and refuses to start without OTAKU_API_KEYS, unless OTAKU_AUTH=none opens it on purpose.
FROM runtime AS app
COPY --from=app-builder /opt/otaku /opt/otaku
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
ENTRYPOINT ["python", "-m", "app"]
