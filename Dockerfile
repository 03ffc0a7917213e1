# Three images. `runtime` (the last, and so the default) has the drover executable and the libraries that it loads;
# `build` compiles it; `sample-app` is the app of compose.yaml, which stands for the program that a machine already has.
# The app comes first, since some builders build every stage up to the one that was asked for.

FROM docker.io/library/debian:bookworm-slim AS sample-app
RUN apt-get update \
  && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
  && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin drover \
  && install -d -o drover -g drover /data
COPY --chmod=0755 scripts/demo-app.py /usr/local/bin/demo-app
USER drover
VOLUME /data
CMD ["demo-app", "--database", "/data/app.db", "--initial", "200", "--rate", "2"]

FROM docker.io/library/swift:6.3-bookworm AS build
RUN apt-get update \
  && apt-get install -y --no-install-recommends libmosquitto-dev libsqlite3-dev libjson-c-dev zlib1g-dev libpq-dev libssl-dev pkg-config \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /drover
# Tests and Benchmarks are there because Package.swift names their folders; only the executable is built.
COPY Package.swift ./
COPY Benchmarks Benchmarks
COPY Sources Sources
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --product drover \
  && install -D -s "$(swift build -c release --static-swift-stdlib --product drover --show-bin-path)/drover" /out/drover

FROM docker.io/library/debian:bookworm-slim AS runtime
RUN apt-get update \
  && apt-get install -y --no-install-recommends libmosquitto1 libsqlite3-0 libjson-c5 zlib1g libpq5 libssl3 ca-certificates \
  && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
  && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin drover \
  && install -d -o drover -g drover /data /etc/drover
COPY --from=build /out/drover /usr/local/bin/drover
USER drover
WORKDIR /data
VOLUME /data
# The configuration is mounted at /etc/drover/drover.yaml; the container's command says which side it is, `edge` or `cloud`.
ENTRYPOINT ["/usr/local/bin/drover"]
CMD ["--help"]
HEALTHCHECK --interval=15s --timeout=10s --start-period=20s --retries=3 \
  CMD ["/usr/local/bin/drover", "status", "--config", "/etc/drover/drover.yaml"]
