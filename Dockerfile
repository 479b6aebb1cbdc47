# Made by orch from databases.yaml: do not edit, run: orch render dockerfile
FROM python:3.13-slim-bookworm AS build
COPY pyproject.toml README.md LICENSE /source/
COPY orchestrator /source/orchestrator
RUN python -m venv /opt/orch && /opt/orch/bin/pip install --no-cache-dir /source

FROM python:3.13-slim-bookworm
COPY --from=build /opt/orch /opt/orch
ENV PATH=/opt/orch/bin:$PATH PYTHONUNBUFFERED=1 ORCH_FILE=/estate/databases.yaml
WORKDIR /estate
COPY databases.yaml ./databases.yaml
COPY migrations ./migrations
USER 65532:65532
ENTRYPOINT ["orch"]
CMD ["apply"]
