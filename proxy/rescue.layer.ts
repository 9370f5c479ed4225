/**
 * The one place where an error becomes a response. Whatever is thrown further in arrives at the caller as one
 * well-formed answer with its code, and a fault of ours is logged with its stack instead of ending the process.
 */
import {
  asProxyError,
  Body,
  called,
  type Exchange,
  type Handler,
  type Layer,
  type Log,
  type ProxyError,
  type ProxyResponse,
} from "../core/index.ts";
import { FAULT_HEADER } from "../resilience/index.ts";

export function rescue(log: Log): Layer {
  return {
    name: "rescue",
    wrap(next: Handler): Handler {
      return (exchange) => {
        const rescued = (thrown: unknown) => {
          const error = asProxyError(thrown);
          if (error.code === "internal_error")
            log.error({ requestId: exchange.requestId, err: error.cause ?? error }, error.message);
          return errorResponse(exchange, error);
        };
        return called(next, exchange).catch(rescued);
      };
    },
  };
}

/** The answer for an error, and the exchange blamed for it. */
export function errorResponse(exchange: Exchange, error: ProxyError): ProxyResponse {
  exchange.blame(error);
  // Peers and strangers are not told what stands behind the inbound port, and nobody what a layer threw.
  const open =
    error.kind.origin === "downstream" ||
    (exchange.direction === "outbound" && error.code !== "internal_error");
  const said = {
    error: error.code,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    message: open ? error.message : error.kind.meaning,
    requestId: exchange.requestId,
  };
  return {
    status: error.kind.status,
    reason: "",
    headers: [
      ...["Content-Type", "application/json", "X-Heddle-Error", error.code],
      ...(error.headers ?? []),
      ...(exchange.injected === "" ? [] : [FAULT_HEADER, exchange.injected]),
    ],
    body: Body.of(Buffer.from(`${JSON.stringify(said)}\n`)),
  };
}
