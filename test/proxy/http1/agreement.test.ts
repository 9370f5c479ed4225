import { createServer, METHODS, request as requestOfNode } from "node:http";
import { type AddressInfo, connect, createServer as createRawServer } from "node:net";
import fc from "fast-check";
import { test } from "tap";
import type { Random } from "../../../core/index.ts";
import {
  chunkPieces,
  fieldLines,
  joinHead,
  lastChunk,
  type MessageLimits,
  type ParsedRequest,
  type ParsedResponse,
  reasonPhrase,
} from "../../../proxy/http1/index.ts";
import { block, cutAt, requests, responses, wire } from "../../support/codec.ts";
import { seededRandom } from "../../support/seeded-random.ts";

const SEED = 20260801;

function get(...fields: readonly string[]): string {
  return block("GET / HTTP/1.1", "Host: a", ...fields);
}

function post(...fields: readonly string[]): string {
  return block("POST / HTTP/1.1", "Host: a", ...fields);
}

const TE_CHUNKED = "Transfer-Encoding: chunked";

const FORMS = [
  ..."\r\n: \t;,0aG\x00\xe9",
  "\r\n",
  "\r\n\r\n",
  "GET / HTTP/1.1\r\n",
  "POST http://a/b HTTP/1.1\r\n",
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 100\r\n",
  "HTTP/1.1 204\r\n",
  "Host: a\r\n",
  "Content-Length: 3\r\n",
  "Content-Length: 0\r\n",
  `${TE_CHUNKED}\r\n`,
  "Connection: b, close\r\n",
  "b: 1\r\n",
  "3\r\nabc\r\n",
  "2;x\r\nhi\r\n",
  "0\r\n",
  get(),
  post(TE_CHUNKED),
  block("HTTP/1.1 200 OK", TE_CHUNKED),
  post("Content-Length: 3"),
];
const SMALL_LIMITS: MessageLimits = { startLineBytes: 32, headBytes: 96, fieldCount: 4 };

test("whatever comes is read alike in any pieces, and ends in events or in a fault, never otherwise", (t) => {
  const soup = fc
    .array(fc.constantFrom(...FORMS), { minLength: 1, maxLength: 12 })
    .map((parts) => parts.join(""));
  const cuts = fc.array(fc.nat({ max: 400 }), { maxLength: 6 });
  const readings = [requests(SMALL_LIMITS), responses(["GET", "HEAD"], SMALL_LIMITS)];
  const property = fc.property(soup, cuts, (text, at) => {
    const bytes = wire(text);
    const offsets = at.map((offset) => Math.min(offset, bytes.length)).sort((a, b) => a - b);
    const everywhere = Array.from(bytes, (_, offset) => offset);
    return readings.every((read) => {
      const whole = JSON.stringify(read([bytes]));
      return [offsets, everywhere].every((cut) => JSON.stringify(read(cutAt(bytes, cut))) === whole);
    });
  });
  fc.assert(property, { seed: SEED, numRuns: 3000 });
  t.end();
});

const tokenText = fc.string({
  unit: fc.constantFrom(..."!#$%&'*+-.^_`|~019AZaz"),
  minLength: 1,
  maxLength: 20,
});
const OF_THIS_HOP =
  /^(?:te|host|expect|upgrade|connection|keep-alive|content-length|proxy-connection|transfer-encoding)$/i;
const endToEndName = fc
  .oneof(tokenText, fc.constantFrom("Via", "X-Request-Id", "Set-Cookie", "Trailer", "Date"))
  .filter((name) => !OF_THIS_HOP.test(name));
const fieldValue = fc
  .string({ unit: fc.constantFrom(...'a:Z \t,;"\x80\xff'), maxLength: 20 })
  .map((value) => value.replace(/^[ \t]+|[ \t]+$/g, ""));
const fieldPairs = fc
  .array(fc.tuple(endToEndName, fieldValue), { maxLength: 12 })
  .map((pairs) => pairs.flat());

test("field lines that are written are read as the same pairs", (t) => {
  const property = fc.property(fieldPairs, (pairs) => {
    const text = `GET / HTTP/1.1\r\nHost: a\r\n${fieldLines(pairs, false)}\r\n`;
    const [event] = requests()([wire(text)]);
    return event?.on === "head" && JSON.stringify(event.head.headers) === JSON.stringify(pairs);
  });
  fc.assert(property, { seed: SEED, numRuns: 500 });
  t.end();
});

test("chunks that are written are read as the same data and the same trailers", (t) => {
  const data = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 });
  // Via, X-Request-Id and Set-Cookie are refused in trailers, see faults.test.ts.
  const trailerPairs = fieldPairs.filter((pairs) =>
    pairs.every((name, i) => i % 2 === 1 || !/^(?:via|x-request-id|set-cookie)$/i.test(name)),
  );
  const property = fc.property(data, trailerPairs, (pieces, trailers) => {
    const written = [post(TE_CHUNKED), ...pieces.flatMap(chunkPieces), lastChunk(trailers)].map((piece) =>
      typeof piece === "string" ? wire(piece) : Buffer.from(piece),
    );
    const bytes = Buffer.concat(pieces).toString("latin1");
    const [, ...rest] = requests()(written.filter((piece) => piece.length > 0));
    const end = { on: "end", trailers, at: Buffer.concat(written).length };
    const expected = bytes === "" ? [end] : [{ on: "data", bytes }, end];
    return JSON.stringify(rest) === JSON.stringify([...expected, { on: "close", ended: false, idle: true }]);
  });
  fc.assert(property, { seed: SEED, numRuns: 500 });
  t.end();
});

test("an empty piece does not end a body in chunks before its time", (t) => {
  t.equal(Buffer.concat(chunkPieces(new Uint8Array(0))).toString(), "");
  t.equal(Buffer.concat(chunkPieces(Buffer.alloc(31, "x"))).toString(), `1f\r\n${"x".repeat(31)}\r\n`);
  t.equal(lastChunk([]), "0\r\n\r\n");
  t.end();
});

test("framing is never copied from the fields, whoever put it there", (t) => {
  const framing = ["Connection", "x", "CONTENT-length", "5", "transfer-Encoding", "chunked"];
  const others = ["Content-Type", "a", "Content-Lengthy", "5", "xransfer-encoding", "b", "connectiom", "c"];
  const lines = "Content-Type: a\r\nContent-Lengthy: 5\r\nxransfer-encoding: b\r\nconnectiom: c\r\n";
  t.equal(fieldLines([...framing, ...others, ...framing], false), lines);
  t.equal(
    fieldLines([...framing, ...others], true),
    `CONTENT-length: 5\r\n${lines}`,
    "but for a length that informs",
  );
  t.equal(fieldLines([], false), "");
  t.equal(lastChunk([...framing, "X", "y"]), "0\r\nX: y\r\n\r\n");
  t.end();
});

test("head and body are joined byte for byte, however long they are", (t) => {
  const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (const [head, pieces] of [
    ["", []],
    ["HTTP/1.1 200 \xe9\r\n\r\n", []],
    // Bytes, a buffer, and a view into the middle of other bytes, as pieces of a body usually are.
    ["A\xff\r\n\r\n", [every, Buffer.from(every), every.subarray(3, 250)]],
    ["A\xff\r\n\r\n", Array<Uint8Array>(40).fill(every)],
    ["x".repeat(4095), [every.subarray(7, 8)]],
    ["x".repeat(4096), [every.subarray(7, 8)]],
  ] as const) {
    const joined = joinHead(head, pieces);
    const bytes = typeof joined === "string" ? wire(joined) : joined;
    const expected = Buffer.concat([wire(head), ...pieces]);
    t.equal(Buffer.compare(bytes, expected), 0, `${expected.length} bytes`);
  }
  t.end();
});

test("the answers that heddle gives itself have a reason phrase, others are left without", (t) => {
  for (const status of [400, 404, 408, 414, 417, 431, 500, 501, 502, 503, 504, 505])
    t.match(reasonPhrase(status), /^[A-Z][A-Za-z -]+$/, `${status}`);
  t.equal(reasonPhrase(299), "");
  t.end();
});

// --- against llhttp, the parser of Node itself

interface Message {
  readonly method: string;
  readonly target: string;
  body: string;
  complete: boolean;
}

/** Whole requests to begin with. None asks for an upgrade: Node reads no HTTP behind one, heddle ignores it. */
const REQUESTS: readonly string[] = [
  get(),
  get("Connection: close"),
  get("Accept: */*", "X-A: b c", "Cookie: a=b"),
  block("GET http://a/b?c=d HTTP/1.1", "Host: a"),
  block("OPTIONS * HTTP/1.1", "Host: a"),
  block("HEAD /a%20b?c HTTP/1.1", "Host: a:80"),
  block("GET / HTTP/1.0"),
  block("DELETE /a HTTP/1.1", "Host: a", "Content-Length: 0"),
  `${post("Content-Length: 5")}hello`,
  `${post("Expect: 100-continue", "Content-Length: 2")}hi`,
  `${block("PUT /a HTTP/1.0", "Content-Length: 3")}abc`,
  `${post(TE_CHUNKED)}5\r\nhello\r\n0\r\n\r\n`,
  `${post(TE_CHUNKED)}3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n`,
  `${post("Connection: keep-alive, x-a", "X-A: 1", TE_CHUNKED)}1\r\n\n\r\n00\r\n\r\n`,
  `${block("PATCH / HTTP/1.1", "Host: a", "TE: trailers", TE_CHUNKED)}0\r\n\r\n`,
  `${post("Content-Length: 34")}${block("GET /inner HTTP/1.1", "Host: a")}`,
];

/** Lines that have made two readers disagree, in either direction. */
const LINES: readonly string[] = [
  "Content-Length: 5",
  "Content-Length: 0",
  "content-length: 6",
  "Content-Length: +5",
  "Content-Length: 5, 5",
  "Content-Length:\t5 ",
  "Content-Length : 5",
  "Content-Length: 0x5",
  "Content_Length: 5",
  "Content-Length: 18446744073709551621",
  "Content-Length:",
  TE_CHUNKED,
  "transfer-encoding:chunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding:\x0bchunked",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked ",
  "Transfer-Encoding: CHUNKED",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding:\r\n chunked",
  "X: a\r\n b",
  " X: a",
  "X: a\rTransfer-Encoding: chunked",
  "X: a\nTransfer-Encoding: chunked",
  "X: \x00",
  "X: \x80\xff",
  "X\x00: a",
  ": a",
  "X",
  "Host: b",
  "Host: a",
  "Connection: close",
  "Connection: content-length",
  "Connection: transfer-encoding, close",
  "Expect: 100-continue",
  "Expect: x",
];

const PIECES: readonly string[] = [
  ...'\r\n\t :;,0159afgAX/?*#%"\\\x00\x0b\x0c\x1f\x7f\x80\xa0\xff-+_',
  "\r\n",
  "\n\r",
  "\r\n\r\n",
  "\r\r\n",
  "\n\n",
  " HTTP/1.1",
  "HTTP/1.0",
  "http://b/",
  "0\r\n\r\n",
  "5\r\n",
  "5;\r\n",
  ';a="b"',
  "0x",
  "GET /injected HTTP/1.1\r\nHost: a\r\n\r\n",
];

/** A request at the end shows where a reader thinks it is. */
const SENTINEL = block("GET /sentinel HTTP/1.1", "Host: a");

/** One message or up to `most`, with up to three changes. */
function hostile(corpus: readonly string[], most: number, random: Random): string {
  const below = (bound: number) => Math.floor(random.next() * bound);
  const one = (from: readonly string[]) => from[below(from.length)]!;
  let text = "";
  for (let count = 1 + below(most); count > 0; count--) text += one(corpus);
  for (let changes = below(4); changes > 0; changes--) {
    const at = below(text.length + 1);
    const until = at + 1 + below(4);
    const lineAt = text.indexOf("\r\n", at) + 2;
    switch (below(6)) {
      case 0:
        text = text.slice(0, at) + one(PIECES) + text.slice(at);
        break;
      case 1:
        text = text.slice(0, at) + text.slice(until);
        break;
      case 2:
        text = text.slice(0, at) + one(PIECES) + text.slice(at + 1);
        break;
      case 3:
        text = text.slice(0, until) + text.slice(at);
        break;
      default:
        text = `${text.slice(0, lineAt)}${one(LINES)}\r\n${text.slice(lineAt)}`;
    }
  }
  return text;
}

interface HeddleReading {
  readonly messages: readonly Message[];
  readonly refused: boolean;
}

/** What a connection of heddle would hand on: nothing is read behind a request that ends the connection. */
function readByHeddle(text: string): HeddleReading {
  const messages: Message[] = [];
  let keepAlive = true;
  for (const event of requests()([wire(text)])) {
    if (event.on === "head") {
      const head = event.head as ParsedRequest;
      keepAlive = head.keepAlive;
      messages.push({ method: head.method, target: head.target, body: "", complete: false });
    } else if (event.on === "data") {
      messages.at(-1)!.body = event.bytes;
    } else if (event.on === "end") {
      messages.at(-1)!.complete = true;
      if (!keepAlive) break;
    } else if (event.on === "fault") {
      return { messages, refused: true };
    }
  }
  return { messages, refused: false };
}

interface Llhttp {
  read(bytes: Buffer): Promise<readonly Message[]>;
  close(): void;
}

/** A server of Node behind raw sockets, and what it made of each connection. */
async function llhttp(): Promise<Llhttp> {
  const connections = new Map<number, Message[]>();
  const server = createServer({ insecureHTTPParser: false, requestTimeout: 0 });
  // A client that has ended its side is still answered, so that what was read before its end counts.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.on("connection", (socket) => connections.set(socket.remotePort!, []));
  server.on("request", (request, response) => {
    const message: Message = { method: request.method!, target: request.url!, body: "", complete: false };
    connections.get(request.socket.remotePort!)!.push(message);
    request.setEncoding("latin1");
    request.on("data", (data: string) => {
      message.body += data;
    });
    request.on("error", () => {});
    request.on("end", () => {
      message.complete = true;
      response.end();
    });
  });
  // The requests before the faulty one are still on their way to their listeners.
  server.on("clientError", (_error, socket) => setImmediate(() => socket.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const read = (bytes: Buffer) =>
    new Promise<readonly Message[]>((resolve) => {
      const client = connect(port, "127.0.0.1");
      let localPort = 0;
      client.on("connect", () => {
        localPort = client.localPort!;
        client.end(bytes);
      });
      client.resume();
      // A server that refuses may close before it has read everything.
      client.on("error", () => {});
      client.on("close", () => {
        resolve(connections.get(localPort)!);
        connections.delete(localPort);
      });
    });
  return { read, close: () => server.close() };
}

/** Where heddle takes on purpose what llhttp refuses; what follows in such a connection is not compared. */
const EXCEPTIONS: readonly {
  readonly reason: string;
  applies(message: Message, text: string): boolean;
}[] = [
  {
    reason: "a method is any token (RFC 9110, 9.1); llhttp knows those of a list",
    applies: ({ method }) => !METHODS.includes(method),
  },
  {
    reason: "chunk extensions are dropped unread up to their CRLF; llhttp judges their grammar",
    applies: (_message, text) => ODD_EXTENSION.test(text),
  },
];
const ODD_EXTENSION = /^[0-9a-f]+;(?![\w-]+(?:=(?:[\w-]+|"[\w-]*"))?\r\n)/im;

/** The one rewriting that a target goes through: absolute form becomes origin form. */
function originForm(target: string): string {
  return target.replace(/^http:\/\/[^/?]+(?=(\/?))/i, (_, slash) => (slash === "" ? "/" : ""));
}

function disagreement(own: HeddleReading, theirs: readonly Message[], text: string): string | undefined {
  for (const [index, message] of own.messages.entries()) {
    const their = theirs[index];
    const excepted = EXCEPTIONS.some((exception) => exception.applies(message, text));
    if (excepted && their?.complete !== true) return undefined;
    if (their === undefined) return "llhttp refuses what heddle accepts";
    if (their.method !== message.method) return "another method";
    if (originForm(their.target) !== message.target) return "another target";
    if (!message.complete && own.refused) return undefined;
    if (their.complete !== message.complete) return "another end";
    if (their.body !== message.body) return "another body";
  }
  return undefined;
}

test("heddle never accepts what llhttp refuses, and both read the same requests where both accept", async (t) => {
  const other = await llhttp();
  t.teardown(() => other.close());
  const random = seededRandom(SEED);
  const tally = { accepted: 0, refused: 0, requests: 0 };
  const disagreements: string[] = [];
  for (let round = 0; round < 60; round++) {
    const texts = Array.from({ length: 50 }, () => hostile(REQUESTS, 3, random) + SENTINEL);
    const readings = await Promise.all(texts.map((text) => other.read(wire(text))));
    for (const [index, text] of texts.entries()) {
      const own = readByHeddle(text);
      tally[own.refused ? "refused" : "accepted"]++;
      tally.requests += own.messages.length;
      const found = disagreement(own, readings[index]!, text);
      if (found === undefined) continue;
      const both = `heddle: ${JSON.stringify(own)}\nllhttp: ${JSON.stringify(readings[index])}`;
      disagreements.push(`${found} (seed ${SEED}): ${JSON.stringify(text)}\n${both}`);
    }
  }
  t.strictSame(disagreements.slice(0, 5), [], `${disagreements.length} disagreements`);
  const all = tally.accepted + tally.refused;
  t.ok(tally.accepted > all / 4 && tally.refused > all / 4, `neither is rare: ${JSON.stringify(tally)}`);
  t.ok(tally.requests > all, "and most connections carry a request that is read");
});

interface Answer {
  readonly interim: number[];
  status: number;
  body: string;
  complete: boolean;
  refused: boolean;
}

const ANSWERS: readonly string[] = [
  ok("Content-Length: 0"),
  `${ok("Content-Length: 5")}hello`,
  `${ok("Content-Length: 5", "Connection: close")}hello`,
  `${ok(TE_CHUNKED)}5\r\nhello\r\n0\r\n\r\n`,
  `${ok(TE_CHUNKED, "X: a")}3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n`,
  `${ok()}hello`,
  block("HTTP/1.1 200", "Content-Length: 0"),
  block("HTTP/1.1 204 X"),
  block("HTTP/1.1 304 X", "Content-Length: 5"),
  `${block("HTTP/1.1 100 X")}${ok("Content-Length: 2")}hi`,
  `${block("HTTP/1.1 103 X", "Link: a")}${ok(TE_CHUNKED)}2\r\nhi\r\n0\r\n\r\n`,
  `${block("HTTP/1.0 200 OK", "Content-Length: 3")}abc`,
  `${block("HTTP/1.0 404 X")}abc`,
];

function ok(...fields: readonly string[]): string {
  return block("HTTP/1.1 200 OK", ...fields);
}

/** The first answer; what follows it is the connection's decision. */
function answerByHeddle(text: string, method: string): Answer {
  const answer: Answer = { interim: [], status: 0, body: "", complete: false, refused: false };
  for (const event of responses([method])([wire(text)])) {
    if (event.on === "head") {
      const head = event.head as ParsedResponse;
      if (head.interim) answer.interim.push(head.status);
      else answer.status = head.status;
    } else if (event.on === "data") {
      answer.body = event.bytes;
    } else if (event.on === "end") {
      answer.complete = true;
      break;
    } else if (event.on === "fault") {
      answer.refused = true;
    }
  }
  return answer;
}

/** Node's client, asking a server that answers with exactly these bytes and closes. */
async function answersByNode(): Promise<{
  read(text: string, method: string): Promise<Answer>;
  close(): void;
}> {
  const texts: string[] = [];
  const server = createRawServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (bytes) => {
      const number = Number(/ \/([0-9]+) /.exec(bytes.toString("latin1"))![1]);
      socket.end(texts[number]!, "latin1");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const read = (text: string, method: string) =>
    new Promise<Answer>((resolve) => {
      const answer: Answer = { interim: [], status: 0, body: "", complete: false, refused: false };
      const path = `/${texts.push(text) - 1}`;
      const asked = requestOfNode({ host: "127.0.0.1", port, method, path, agent: false });
      asked.on("information", (information) => answer.interim.push(information.statusCode));
      asked.on("response", (response) => {
        answer.status = response.statusCode!;
        response.setEncoding("latin1");
        response.on("data", (data: string) => {
          answer.body += data;
        });
        response.on("error", () => {});
        response.on("close", () => {
          answer.complete = response.complete;
        });
      });
      asked.on("error", () => {
        answer.refused = true;
      });
      asked.on("close", () => setImmediate(resolve, answer));
      asked.end();
    });
  return { read, close: () => server.close() };
}

/** llhttp reads nothing behind an interim answer that says close, though the final one must follow. */
const CLOSE_IN_INTERIM = /^HTTP\/1\.1 1(?:[^\r]|\r\n(?!\r\n))*\r\nConnection:[^\r]*close/i;

test("heddle reads no answer otherwise than llhttp does, nor one that llhttp refuses", async (t) => {
  const other = await answersByNode();
  t.teardown(() => other.close());
  const random = seededRandom(SEED);
  const tally = { accepted: 0, refused: 0 };
  const disagreements: string[] = [];
  for (let round = 0; round < 30; round++) {
    const cases = Array.from({ length: 50 }, () => ({
      text: hostile(ANSWERS, 1, random),
      method: random.next() < 0.2 ? "HEAD" : "GET",
    }));
    const readings = await Promise.all(cases.map(({ text, method }) => other.read(text, method)));
    for (const [index, { text, method }] of cases.entries()) {
      const own = answerByHeddle(text, method);
      tally[own.refused ? "refused" : "accepted"]++;
      if (own.refused || CLOSE_IN_INTERIM.test(text) || ODD_EXTENSION.test(text)) continue;
      const their = readings[index]!;
      // An answer that is cut off is an error to Node's client; its bytes are compared only when it is whole.
      const facts = ({ interim, status, complete, body }: Answer) =>
        JSON.stringify([interim, status, complete, complete ? body : ""]);
      if (facts(own) === facts(their)) continue;
      disagreements.push(`seed ${SEED}: ${method} ${JSON.stringify(text)}\n${facts(own)}\n${facts(their)}`);
    }
  }
  t.strictSame(disagreements.slice(0, 5), [], `${disagreements.length} disagreements`);
  const all = tally.accepted + tally.refused;
  t.ok(tally.accepted > all / 4 && tally.refused > all / 4, `neither is rare: ${JSON.stringify(tally)}`);
});
