# The image of all parts: `ledgerx api`, `ledgerx relay`, `ledgerx streams` and the rest of the command.
# buildah 1.28 builds it, which knows neither here-documents nor COPY --link.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# Where a dependency has no wheel (faust-streaming on arm64), the compiler makes the fast variant of it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3 -m venv /opt/ledgerx
COPY requirements.lock requirements-build.lock ./
RUN /opt/ledgerx/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/ledgerx/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock --target /opt/build
COPY . .
RUN PYTHONPATH=/opt/build /opt/ledgerx/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="LedgerX" \
      org.opencontainers.image.description="A multi-tenant double-entry ledger" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 ledgerx \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ledgerx
COPY --from=build /opt/ledgerx /opt/ledgerx
ENV PATH=/opt/ledgerx/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["ledgerx"]
