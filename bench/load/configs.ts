/**
 * The configuration files of the contenders, as functions of the ports they are given.
 *
 * nginx and HAProxy are set up as their manuals advise for keep-alive on both sides: without `keepalive` and
 * HTTP/1.1, nginx would open a connection for each request and lose by a fault that is not its own.
 */
import type { Setting } from "./contender.ts";

export function nginxConfig({ port, upstreamPorts, connections }: Setting): string {
  const servers = upstreamPorts.map((upstreamPort) => `    server 127.0.0.1:${upstreamPort};`);
  return `${nginxPreamble("nginx.pid")}
  upstream bench {
${servers.join("\n")}
    keepalive ${Math.max(64, connections)};
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
    }
  }
}
`;
}

/**
 * What every nginx of the bench shares, up to the open `http` block. The limits on requests per connection
 * are lifted because closing a connection now and then would be measured too.
 */
export function nginxPreamble(pidFile: string): string {
  // Started by root, nginx would give its worker to a user who cannot enter the temporary folder.
  const user = process.getuid?.() === 0 ? "user root;\n" : "";
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return `${user}daemon off;
pid ${pidFile};
worker_processes 1;
events { worker_connections 4096; }
http {
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
${folders.map((folder) => `  ${folder}_temp_path ${folder};`).join("\n")}`;
}

export function haproxyConfig({ port, upstreamPorts }: Setting): string {
  const servers = upstreamPorts.map((upstreamPort, i) => `  server s${i + 1} 127.0.0.1:${upstreamPort}`);
  return `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend callers
  bind 127.0.0.1:${port}
  default_backend bench
backend bench
  balance roundrobin
${servers.join("\n")}
`;
}

export function heddleConfig(setting: Setting, telemetry: { readonly accessLog: boolean }): string {
  const endpoints = setting.upstreamPorts.map((upstreamPort) => `127.0.0.1:${upstreamPort}`);
  return `outbound: { listen: 127.0.0.1:${setting.port} }
admin: { listen: 127.0.0.1:${setting.adminPort} }
upstreams:
  bench: { endpoints: [${endpoints.join(", ")}] }
telemetry: { accessLog: ${telemetry.accessLog}, logLevel: ${telemetry.accessLog ? "info" : "warn"} }
`;
}
