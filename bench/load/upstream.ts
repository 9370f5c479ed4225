/**
 * The service behind every contender: one nginx that answers from its configuration, on four ports.
 *
 * Not a Node server: it shares its core with the load generator, and the less it costs, the longer the proxy
 * stays the bottleneck. The odd paths are there for the proof of correctness; only `/` is under load.
 */
import { nginxPreamble } from "./configs.ts";

/** 100 bytes, the newline included. */
export const BODY = `${"heddle ".repeat(14)}!\n`;
export const MISSING_BODY = "there is nothing here\n";

export const paths = {
  body: "/",
  /** Answers with the body of the request. */
  echo: "/echo",
  /** Answers with the port that was reached and the number of the connection that reached it. */
  whoAmI: "/who-am-i",
  missing: "/missing",
  noContent: "/no-content",
} as const;

export const UPSTREAM_PORT_COUNT = 4;

/** Tells heddle which of its upstreams is meant; the other proxies have only one. */
export const HOST_HEADER = "bench";

export function upstreamConfig(ports: readonly number[]): string {
  const quoted = (text: string) => `"${text.replaceAll("\n", "\\n")}"`;
  // nginx cannot return the body of a request that nobody has read. Passing the request to itself reads it,
  // and a header carries it to the place that returns it: such bodies are one line of a few kilobytes.
  return `${nginxPreamble("upstream.pid")}
  server {
${ports.map((port) => `    listen 127.0.0.1:${port};`).join("\n")}
    large_client_header_buffers 4 16k;
    location = ${paths.body} { return 200 ${quoted(BODY)}; }
    location = ${paths.whoAmI} { return 200 "$server_port $connection"; }
    location = ${paths.missing} { return 404 ${quoted(MISSING_BODY)}; }
    location = ${paths.noContent} { return 204; }
    location = ${paths.echo} {
      proxy_pass http://127.0.0.1:${ports[0]}/echo-header;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Body $request_body;
    }
    location = /echo-header { return 200 $http_x_body; }
  }
}
`;
}
