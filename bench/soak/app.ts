/**
 * The program of an app behind the sidecar: it does what the path of a request says.
 *
 * It notes each delivery of a request that must not be repeated in a file, synchronously, before it answers: it is ended by SIGKILL, and what
 * it had only in memory would be forgotten with it.
 *
 * Arguments: its port, the file. Says `ready` to its parent.
 */
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const [port, deliveries] = process.argv.slice(2);
/** Of RFC 6455, section 1.3. */
const WEB_SOCKET_KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const PIECE = Buffer.alloc(1024, "heddle ");

const server = createServer((request, response) => {
  // Its caller may go away at any moment, and that is the caller's business.
  void answer(request, response).catch(() => response.destroy());
});
server.keepAliveTimeout = 0;
server.on("upgrade", (request, socket, head) => {
  const accepted = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}${WEB_SOCKET_KEY_SUFFIX}`)
    .digest("base64");
  socket.on("error", () => {});
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accepted}\r\n\r\n`,
  );
  // What comes goes back as it is: frames are the business of the two ends.
  if (head.length > 0) socket.write(head);
  socket.pipe(socket);
});
// Whoever started it may end without a word.
process.on("disconnect", () => process.exit());
server.listen(Number(port), "127.0.0.1", () => process.send!("ready"));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, what, first = "0", second = "0"] = request.url!.split("/");
  let received = 0;
  for await (const piece of request) received += (piece as Buffer).length;
  if (request.method === "POST" && request.headers["idempotency-key"] === undefined)
    appendFileSync(deliveries!, `${request.headers["x-request-id"]}\n`);
  switch (what) {
    case "bytes":
      response.end(Buffer.alloc(Number(first), "heddle "));
      break;
    case "status":
      response.writeHead(Number(first)).end("as you wish\n");
      break;
    case "wait":
      await sleep(Number(first));
      response.end("waited\n");
      break;
    case "stream":
      for (let piece = 0; piece < Number(first) && !response.destroyed; piece++) {
        response.write(PIECE);
        await sleep(Number(second));
      }
      response.end();
      break;
    default:
      response.end(`${received}\n`);
  }
}
