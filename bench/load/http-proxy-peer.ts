/**
 * The contender "http-proxy": the usual Node proxy program, round-robin over its targets.
 *
 * It gets a keep-alive agent, which http-proxy does not use unless told; without one it would open a
 * connection for each request. No `cluster`: every contender has one thread of work.
 */
import { Agent, createServer } from "node:http";
import httpProxy from "http-proxy";

const [port, ...targetPorts] = process.argv.slice(2).map(Number);
if (port === undefined || targetPorts.length === 0)
  throw new Error("expected a port and the ports of targets");

const targets = targetPorts.map((targetPort) => `http://127.0.0.1:${targetPort}`);
const proxy = httpProxy.createProxyServer({ agent: new Agent({ keepAlive: true }) });
let turn = 0;

createServer((request, response) => {
  turn = (turn + 1) % targets.length;
  proxy.web(request, response, { target: targets[turn]! }, (error) => {
    console.error(error);
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end();
  });
}).listen(port, "127.0.0.1");
