/**
 * An exchange as the accepting connection makes it, and an answer as an endpoint gives it, for tests of what stands
 * in between. Everything has a plain default, so that a test names only what it is about.
 */
import { Body, Exchange, type HeaderPairs, type ProxyError, type ProxyResponse } from "../../core/index.ts";

export interface ExchangeSettings {
  readonly direction?: "inbound" | "outbound";
  readonly requestId?: string;
  readonly method?: string;
  readonly target?: string;
  readonly authority?: string;
  readonly minorVersion?: number;
  readonly headers?: HeaderPairs;
  readonly expectsContinue?: boolean;
  readonly upgrade?: string;
  readonly body?: Body;
  readonly clientAddress?: string;
  readonly boundUpstream?: string;
  readonly pinnedTo?: string;
  readonly fault?: ProxyError;
  readonly nowMs?: number;
}

/** Running, as it is when the first layer sees it. */
export function exchangeOf(settings: ExchangeSettings = {}): Exchange {
  const exchange = new Exchange(
    settings.direction ?? "outbound",
    settings.requestId ?? "request-1",
    {
      method: settings.method ?? "GET",
      target: settings.target ?? "/",
      authority: settings.authority ?? "orders",
      minorVersion: settings.minorVersion ?? 1,
      headers: settings.headers ?? [],
      expectsContinue: settings.expectsContinue ?? false,
      upgrade: settings.upgrade ?? "",
    },
    settings.body,
    settings.clientAddress ?? "127.0.0.1",
    settings.boundUpstream,
    settings.fault,
    settings.nowMs ?? 0,
  );
  exchange.pinnedTo = settings.pinnedTo ?? "";
  exchange.state = "running";
  return exchange;
}

export function responseOf(status = 200, body = Body.empty(), headers: HeaderPairs = []): ProxyResponse {
  return { status, reason: "", headers, body };
}
