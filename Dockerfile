# Two images: `runtime`, which has what `ledgerx api`, `relay`, `streams` and `operator` need, and `demo`, which has
# PostgreSQL, Kafka and Java for `ledgerx up` besides.
# buildah 1.28 builds them, which knows neither here-documents nor COPY --link.
ARG BASE=python:3.13-slim

FROM ${BASE} AS packages
# faust-streaming has no wheel for arm64: without a compiler its slow variant would be made, and nobody told.
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
        $(test "$(dpkg --print-architecture)" = amd64 || echo gcc libc6-dev)
ENV PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip /opt/ledgerx
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# What is removed: the examples of an OpenAPI generator, an editor that nobody opens, and symbols for debuggers. Not
# those of what wheels carry in *.libs, whose layout tools have changed in ways that strip does not know.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/ledgerx install --require-hashes -r requirements.lock \
    && pip install --require-hashes -r requirements-build.lock --target /opt/build \
    && cd /opt/ledgerx/lib/python3*/site-packages \
    && rm -rf faker swagger_ui/static/*editor* swagger_ui/static/*.map \
    && find /opt/ledgerx /usr/local/lib -type f -name '*.so*' -not -path '*.libs/*' -exec strip --strip-debug {} +

FROM packages AS build
COPY . .
RUN PYTHONPATH=/opt/build pip --python /opt/ledgerx install --no-deps --no-build-isolation . \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ledgerx/lib

FROM packages AS packages-demo
COPY requirements-embedded.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/ledgerx install --require-hashes -r requirements-embedded.lock

FROM packages-demo AS build-demo
COPY . .
RUN PYTHONPATH=/opt/build pip --python /opt/ledgerx install --no-deps --no-build-isolation . \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/ledgerx/lib
# The jars come through a library that trusts other certificates than the system's unless told.
RUN REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt XDG_CACHE_HOME=/opt/ledgerx/cache \
    /opt/ledgerx/bin/python -m ledgerx_cli.embedded.warm
RUN install -d -o 10001 -g 10001 /opt/data

# The base without tools to build with, nor what people would read but licences.
FROM packages AS base-files
RUN pip uninstall --yes pip \
    && apt-get purge -y --auto-remove binutils gcc libc6-dev \
    && rm -rf /opt/* /src /var/lib/apt/lists /var/cache/apt /usr/share/man /usr/share/info /usr/share/locale \
        /usr/local/include /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/idlelib \
    && find /usr/share/doc -type f ! -name copyright -delete \
    && groupadd --gid 10001 ledgerx \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ledgerx

FROM scratch AS base
COPY --from=base-files / /
ENV PATH=/opt/ledgerx/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080 9090
ENTRYPOINT ["ledgerx"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"

# `docker run -p 8080:8080 IMAGE` is the whole platform, with its data in /var/lib/ledgerx.
FROM base AS demo
LABEL org.opencontainers.image.title="LedgerX demo" \
      org.opencontainers.image.description="A multi-tenant double-entry ledger, with the servers that it needs"
COPY --from=build-demo /opt/ledgerx /opt/ledgerx
COPY --from=build-demo --chown=10001:10001 /opt/data /var/lib/ledgerx
ENV LEDGERX_DATA=/var/lib/ledgerx \
    LEDGERX_HOST=0.0.0.0 \
    XDG_CACHE_HOME=/opt/ledgerx/cache
CMD ["up"]

FROM base AS runtime
LABEL org.opencontainers.image.title="LedgerX" \
      org.opencontainers.image.description="A multi-tenant double-entry ledger"
COPY --from=build /opt/ledgerx /opt/ledgerx
