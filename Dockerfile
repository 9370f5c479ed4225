# A sidecar's image: the single executable, the C library that it needs, and nothing else; no shell, no package manager. The
# configuration is mounted at /etc/heddle/heddle.yaml. What the last stage copies is what `npm run build:image` puts into an
# image without an engine (build/image/root.ts).

# Only for its npm, its linker and its C library: the Node that ends up in the executable comes with `npm ci`, by the lock file.
FROM node:26.10.0-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /heddle
COPY package.json package-lock.json .npmrc tsconfig.json LICENSE ./
RUN npm ci --ignore-scripts
COPY core core
COPY balancing balancing
COPY resilience resilience
COPY discovery discovery
COPY config config
COPY telemetry telemetry
COPY proxy proxy
COPY kubernetes kubernetes
COPY cli cli
COPY build build
RUN npm run build:binary && npm run build:image -- --root-only

# For the init container of pods whose traffic is redirected: `heddle redirect up` hands a script to a shell and to nft.
# docker build --target redirect --tag heddle:VERSION-redirect .
FROM debian:bookworm-slim AS redirect
RUN apt-get update && apt-get install -y --no-install-recommends nftables && rm -rf /var/lib/apt/lists/*
COPY --from=build /heddle/out/heddle /usr/bin/heddle
ENTRYPOINT ["/usr/bin/heddle"]
CMD ["redirect", "up"]

FROM scratch
COPY --from=build /heddle/out/root /
LABEL org.opencontainers.image.title="heddle" \
      org.opencontainers.image.description="A service-mesh sidecar proxy" \
      org.opencontainers.image.licenses="Apache-2.0"
# By number, so that Kubernetes can tell that it is not root. It writes nothing: the root file system may be read-only.
USER 10001:10001
EXPOSE 15001 15006 15000
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
  CMD ["/usr/bin/heddle", "ready"]
# The first signal drains: give it longer than shutdown.grace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/heddle"]
CMD ["run", "--config", "/etc/heddle/heddle.yaml"]
