/**
 * The HTTP side of the webhook: a request that is a review is answered with one, any other with a status and, in JSON, why.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "../../core/index.ts";
import { type AdmissionPolicy, answerReview, type Verdict } from "./admission.ts";
import type { WebhookCounts } from "./counts.ts";
import type { HeldBytes } from "./held-bytes.ts";

export const REVIEW_PATH = "/inject";
/** The API server takes no object of more than 3 MiB; a review adds little to it. */
const LARGEST_BODY_BYTES = 4 * 1024 * 1024;
export interface ReviewParts {
  readonly held: HeldBytes;
  readonly policy: AdmissionPolicy;
  readonly counts: WebhookCounts;
  readonly log: Log;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Connections are not to be kept: it is about to end. */
  readonly isLeaving: () => boolean;
}

interface Reply {
  readonly status: number;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function serveReview(
  request: IncomingMessage,
  response: ServerResponse,
  parts: ReviewParts,
): Promise<void> {
  const holder = { destroy: () => request.socket.destroy() };
  response.once("close", () => parts.held.letGo(holder));
  let body: Body;
  try {
    // Read to its end whatever comes of it: an answer that overtakes its request may be lost with the connection.
    body = await gather(request, (bytes) => parts.held.add(holder, bytes));
  } catch {
    // The caller has gone.
    return;
  }
  const reply = refusalOf(request) ?? reviewed(body, parts);
  if (reply.status !== 200) parts.counts.refused(reply.status);
  const text = JSON.stringify(reply.body);
  const bytes = Buffer.byteLength(text);
  response.writeHead(reply.status, {
    "content-type": "application/json",
    "content-length": bytes,
    ...reply.headers,
    ...(parts.isLeaving() ? { connection: "close" } : {}),
  });
  // Some do not read what they have asked for.
  parts.held.add(holder, bytes);
  response.end(text);
}

function error(status: number, message: string, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, body: { error: message }, headers };
}

/** What can be said without the body. */
function refusalOf({ method = "", url = "", headers }: IncomingMessage): Reply | undefined {
  // The API server adds a query with its time limit.
  const path = url.split("?", 1)[0];
  if (path !== REVIEW_PATH) return error(404, `expected the path ${REVIEW_PATH}`);
  if (method !== "POST") return error(405, `expected POST, got ${method}`, { allow: "POST" });
  const [type = ""] = (headers["content-type"] ?? "").split(";", 1);
  if (type.trim().toLowerCase() !== "application/json")
    return error(415, "expected Content-Type: application/json");
  if ((headers["content-encoding"] ?? "identity") !== "identity")
    return error(415, "expected a body without Content-Encoding");
  return undefined;
}

function reviewed(body: Body, { policy, counts, log, now }: ReviewParts): Reply {
  if (body === undefined) return error(413, `expected a body of at most ${LARGEST_BODY_BYTES} bytes`);
  const beganMs = now();
  let review: unknown;
  try {
    review = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (thrown) {
    return error(400, `expected JSON: ${(thrown as Error).message}`);
  }
  const answered = answerReview(review, policy);
  if ("malformed" in answered) return error(400, answered.malformed);
  const { answer, verdict } = answered;
  counts.review(verdict.outcome, now() - beganMs);
  tell(log, verdict);
  return { status: 200, body: answer };
}

/** What was refused or went wrong is for somebody to read; what is usual is one line. */
function tell(log: Log, verdict: Verdict): void {
  if (verdict.outcome === "failed") log.error(verdict, "a review failed");
  else if (verdict.outcome === "faulty") log.warn(verdict, "a pod is at fault");
  else log.info(verdict, "reviewed");
}

/** A body; undefined for one that is too long. */
type Body = Buffer | undefined;

/**
 * @param hold told of all that is kept, as it comes
 * @throws Error when it breaks off
 */
async function gather(request: IncomingMessage, hold: (bytes: number) => void): Promise<Body> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LARGEST_BODY_BYTES) {
      chunks.length = 0;
      continue;
    }
    chunks.push(chunk);
    hold(chunk.length);
  }
  return bytes > LARGEST_BODY_BYTES ? undefined : Buffer.concat(chunks, bytes);
}
