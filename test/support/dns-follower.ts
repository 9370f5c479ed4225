/**
 * A DNS source that is followed: its sockets are real and its time is not, and what it tells is noted and can be awaited.
 */
import type { Test } from "tap";
import { endpointKey } from "../../core/index.ts";
import { type DnsOptions, DnsSource } from "../../discovery/dns/source.ts";
import type { Instance } from "../../discovery/source.ts";
import type { DnsServer } from "./dns-server.ts";
import { ManualClock } from "./manual-clock.ts";
import { type LogRecord, logInto } from "./sidecar.ts";

/** What it asks for unless a test says otherwise. */
export const NAME = "orders.mesh";

/** Time that notes what it was asked to wait for. */
class NotingClock extends ManualClock {
  readonly delaysMs: number[] = [];

  override schedule(delayMs: number, callback: () => void) {
    this.delaysMs.push(delayMs);
    return super.schedule(delayMs, callback);
  }
}

/** A source that has been started; its time moves only where a test says so. */
export function followed(
  t: Test,
  servers: readonly DnsServer[],
  options: Partial<DnsOptions> = {},
  chance = 0,
) {
  const clock = new NotingClock();
  const records: LogRecord[] = [];
  const lists: (readonly Instance[])[] = [];
  /** `10.0.0.1:80`, `10.0.0.1:80 x3` for each endpoint of a list, and why for a silence. */
  const told: (readonly string[] | string)[] = [];
  let waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  const tell = (what: readonly string[] | string) => {
    told.push(what);
    waiting = waiting.filter(({ count, resolve }) => {
      if (told.length >= count) resolve();
      return told.length < count;
    });
  };
  const source = new DnsSource(
    {
      name: NAME,
      type: "A",
      port: 80,
      resolver: servers.map(({ address }) => address),
      minTtlMs: 1_000,
      maxTtlMs: 300_000,
      ...options,
    },
    { clock, random: { next: () => chance }, log: logInto(records).log },
  );
  t.teardown(() => source.stop());
  source.start({
    list(instances) {
      lists.push(instances);
      tell(
        instances.map((one) => (one.weight === 1 ? endpointKey(one) : `${endpointKey(one)} x${one.weight}`)),
      );
    },
    silent: tell,
  });
  return {
    clock,
    source,
    records,
    lists,
    told,
    /** Resolves when so much has been told, with the last of it. */
    async nth(count: number): Promise<readonly string[] | string> {
      await new Promise<void>((resolve) => {
        if (told.length >= count) resolve();
        else waiting.push({ count, resolve });
      });
      return told[count - 1]!;
    },
    /** How long it rests now. */
    restMs: () => clock.delaysMs.at(-1)!,
  };
}
