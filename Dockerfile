# A sidecar's image: the Node binary, the program as plain JavaScript, the libraries it needs, and nothing that installs
# or builds. The configuration is mounted at /etc/heddle/heddle.yaml.

FROM node:26-alpine AS build
WORKDIR /heddle
COPY package.json package-lock.json .npmrc ./
# The optional dependencies are a Node for machines that have none; the image has its own.
RUN npm ci --omit=dev --omit=optional --ignore-scripts
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
RUN node build/strip-types.js

FROM alpine:3.22
RUN apk add --no-cache libstdc++ && adduser -D -H -u 10001 heddle
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /heddle
COPY --from=build /heddle/node_modules node_modules
COPY package.json LICENSE ./
COPY --from=build /heddle/dist dist
COPY bin bin
USER heddle
EXPOSE 15001 15006 15000
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
  CMD ["node", "bin/heddle.js", "ready"]
# The first signal drains: give it longer than shutdown.grace.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "bin/heddle.js"]
CMD ["run", "--config", "/etc/heddle/heddle.yaml"]
