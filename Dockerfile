# Made by orch from databases.yaml: do not edit, run: orch render dockerfile
# The same base for every build: --build-arg BASE=python:3.13-slim-bookworm@sha256:... (docker buildx imagetools inspect python:3.13-slim-bookworm)
ARG BASE=python:3.13-slim-bookworm
FROM ${BASE} AS build
COPY requirements.lock /locked/requirements.lock
RUN python -m venv --without-pip /opt/orch && python -m pip --python /opt/orch/bin/python install --no-cache-dir --require-hashes -r /locked/requirements.lock
COPY pyproject.toml README.md LICENSE /source/
COPY orchestrator /source/orchestrator
RUN python -m pip --python /opt/orch/bin/python install --no-cache-dir --no-deps /source && python -m pip --python /opt/orch/bin/python check

FROM ${BASE}
ARG BASE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="database-migration" \
      org.opencontainers.image.description="orch with a manifest and its migrations" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$BASE"
RUN python -m pip uninstall --yes pip
COPY --from=build /opt/orch /opt/orch
ENV PATH=/opt/orch/bin:$PATH PYTHONUNBUFFERED=1 ORCH_FILE=/estate/databases.yaml
WORKDIR /estate
COPY databases.yaml ./databases.yaml
COPY migrations ./migrations
USER 65532:65532
ENTRYPOINT ["orch"]
CMD ["apply"]
