/**
 * Whether GET is answered with a status that counts as well.
 *
 * The head decides. The body is read only so that the endpoint can finish what it says and see an orderly end, and only
 * so much of it: a check that is pointed at a download by mistake must not become one. A redirect is an answer like any
 * other and is not followed, as it would lead to somebody else's health.
 */
import { type Ask, dial, failed, hostOf, USER_AGENT } from "./ask.ts";
import type { ProbeOptions, ProbeResult } from "./probe.ts";

type HttpOptions = Extract<ProbeOptions, { readonly type: "http" }>;

/** How much of a body is read. */
const MOST_BODY_BYTES = 64 * 1024;

export function askHttp({ path, host, statuses: [lowest, highest] }: HttpOptions): Ask {
  return (endpoint, tell) => {
    // Loaded with the first question, and not by `import`, which would ask node:http for all it exports, and with that for
    // its fetch client of 15 MB.
    const { request } = process.getBuiltinModule("node:http");
    let known: ProbeResult | undefined;
    const asking = request({
      method: "GET",
      path,
      headers: {
        host: host ?? hostOf(endpoint),
        "user-agent": USER_AGENT,
        accept: "*/*",
        connection: "close",
      },
      // Also means: no agent, so that no connection is kept or shared.
      createConnection: () => dial(endpoint),
    });
    asking.once("response", (response) => {
      const status = response.statusCode!;
      const answer = { passing: status >= lowest && status <= highest, note: String(status) };
      known = answer;
      let bodyBytes = 0;
      response.on("data", (bytes: Buffer) => {
        bodyBytes += bytes.length;
        if (bodyBytes >= MOST_BODY_BYTES) tell(answer);
      });
      response.once("end", () => tell(answer));
      // Cut off in the middle of the body: that it answered is what was asked.
      response.on("error", () => tell(answer));
    });
    asking.on("error", (error) => tell(known ?? failed(error)));
    asking.once("close", () => tell(known ?? failed("closed without an answer")));
    asking.end();
    return () => {
      asking.destroy();
      return known;
    };
  };
}
