/**
 * The few requests that the certificate's Job makes to the API server. Sources of endpoints have a client of their own, which lists and
 * watches for as long as a sidecar lives; this one reads and writes single objects and is done.
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request as plainRequest } from "node:http";
import { request as tlsRequest } from "node:https";
import { text } from "node:stream/consumers";
import type { ClusterAccess } from "../../discovery/index.ts";
import { type Fields, isFields, textAt } from "../inject/index.ts";

const ANSWER_MS = 15_000;

/** The API server answered, and not with what was asked for. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(`the API server answers ${status}: ${reason}`);
    this.status = status;
  }
}

export class ClusterApi {
  readonly #access: ClusterAccess;

  constructor(access: ClusterAccess) {
    this.#access = access;
  }

  /**
   * The object; undefined where there is none.
   * @throws ApiError, or Error when there is no answer
   */
  async find(path: string): Promise<Fields | undefined> {
    try {
      return await this.send("GET", path);
    } catch (thrown) {
      if (thrown instanceof ApiError && thrown.status === 404) return undefined;
      throw thrown;
    }
  }

  /**
   * @param body of a PATCH a JSON Patch
   * @throws ApiError, or Error when there is no answer
   */
  async send(method: "GET" | "POST" | "PUT" | "PATCH", path: string, body?: unknown): Promise<Fields> {
    const { server, tokenFile, caFile } = this.#access;
    const url = new URL(`${server}${path}`);
    const sent = body === undefined ? "" : JSON.stringify(body);
    const token = tokenFile === undefined ? undefined : (await readFile(tokenFile, "utf8")).trim();
    const call = (url.protocol === "https:" ? tlsRequest : plainRequest)(url, {
      method,
      agent: false,
      signal: AbortSignal.timeout(ANSWER_MS),
      headers: {
        accept: "application/json",
        "user-agent": "heddle",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(sent === "" ? {} : { "content-length": Buffer.byteLength(sent) }),
        ...(sent === ""
          ? {}
          : { "content-type": method === "PATCH" ? "application/json-patch+json" : "application/json" }),
      },
      ...(caFile === undefined ? {} : { ca: await readFile(caFile, "utf8") }),
    });
    call.end(sent);
    const [response] = await once(call, "response");
    const answer = objectIn(await text(response));
    if (response.statusCode < 200 || response.statusCode > 299)
      throw new ApiError(response.statusCode, textAt(answer, "message") ?? "without a reason");
    if (answer === undefined) throw new Error("the API server answers something that is not JSON");
    return answer;
  }
}

function objectIn(body: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isFields(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
