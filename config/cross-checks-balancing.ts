/**
 * Faults in how endpoints are chosen: settings that exclude each other, or that say nothing without another one.
 */
import { HASHING_ALGORITHMS } from "../balancing/index.ts";
import type { IsSet } from "./document.ts";
import type { Complaint } from "./issues.ts";
import type { Config } from "./shape.ts";
import { durationText } from "./units.ts";

/** An algorithm that goes by what a request is known by, and nothing that it is known by. */
export function hashFaults(config: Config): Complaint[] {
  return Object.entries(config.upstreams).flatMap(([name, { options }]) => {
    const { algorithm } = options.balancing;
    const path = ["upstreams", name, "balancing"];
    if (HASHING_ALGORITHMS.has(algorithm) && options.hash.length === 0)
      return [{ path, message: `expected hash with ${algorithm}, which goes by it; none came` }];
    if (!HASHING_ALGORITHMS.has(algorithm) && options.hash.length > 0) {
      const message = `expected an algorithm that goes by it, ${[...HASHING_ALGORITHMS].join(" or ")}, got ${algorithm}`;
      return [{ path: [...path, "hash"], message }];
    }
    return [];
  });
}

/** Browsers refuse them over plain HTTP. */
const SECURE_NAME = /^__(?:secure|host)-/i;

/** Cookies that contradict each other, or that no browser would keep. */
export function sessionFaults(config: Config): Complaint[] {
  return Object.entries(config.upstreams).flatMap(([name, { options }]) => {
    const { hash, sticky } = options;
    const path = ["upstreams", name, "balancing"];
    const faults: Complaint[] = [];
    for (const [i, key] of hash.entries()) {
      if (key.of !== "cookie") continue;
      const fault = (message: string) => faults.push({ path: [...path, "hash", i], message });
      const isSet = key.sets !== undefined;
      if (isSet && i < hash.length - 1)
        fault("expected nothing after a cookie with a ttl, which is in every request, got more");
      if (sticky !== undefined && isSet)
        fault("expected no ttl with sticky, which sets a cookie of its own, got both");
      else if (key.name === sticky?.name)
        fault(`expected another cookie than that of sticky, got ${key.name}, which no hash is needed for`);
    }
    if (sticky !== undefined && sticky.secure !== true) {
      const { name: cookie, sameSite, secure } = sticky;
      const what = sameSite === "none" ? "sameSite none" : SECURE_NAME.exec(cookie)?.[0];
      if (what !== undefined) {
        const message = `expected secure: true with ${what}, which browsers refuse otherwise, got ${secure ?? "none"}`;
        faults.push({ path: [...path, "sticky"], message });
      }
    }
    return faults;
  });
}

/** For which algorithms a setting is; on any other it would say nothing. */
const SETTINGS_OF: Readonly<Record<string, readonly string[]>> = {
  choices: ["leastRequest", "peakEwma"],
  bias: ["leastRequest"],
  minimumRingSize: ["ringHash"],
  maximumRingSize: ["ringHash"],
  loadFactor: ["ringHash", "maglev"],
  prequal: ["prequal"],
};

/** Who is chosen from, and who is left out. */
export function candidateFaults(config: Config, isSet: IsSet): Complaint[] {
  const own = config.outbound.zone ?? config.service?.zone;
  return Object.entries(config.upstreams).flatMap(([name, { options }]) => {
    const { balancing, candidates, outliers } = options;
    const { algorithm, minimumRingSize = 1024, maximumRingSize = 262_144 } = balancing;
    const path = ["upstreams", name, "balancing"];
    const faults: Complaint[] = [];
    for (const [setting, of] of Object.entries(SETTINGS_OF))
      if (isSet([...path, setting]) && !of.includes(algorithm)) {
        const message = `expected it only with ${of.join(" or ")}, got ${algorithm}`;
        faults.push({ path: [...path, setting], message });
      }
    if (minimumRingSize > maximumRingSize) {
      const message = `expected at most maximumRingSize, which is ${maximumRingSize}, got ${minimumRingSize}`;
      faults.push({ path: [...path, "minimumRingSize"], message });
    }
    if (candidates.zones !== undefined && own === undefined) {
      const message = "expected outbound.zone or service.zone, to know which zone is its own; neither came";
      faults.push({ path: [...path, "zones"], message });
    }
    if (candidates.aperture > 0 && candidates.zones !== undefined) {
      const message = "expected either an aperture or zones: a part of all endpoints is in no zone; got both";
      faults.push({ path: [...path, "aperture"], message });
    }
    if (candidates.aperture > 0 && HASHING_ALGORITHMS.has(algorithm)) {
      const message = `expected none with ${algorithm}: other sidecars would find other endpoints for the same request`;
      faults.push({ path: [...path, "aperture"], message });
    }
    const { baseMs, maxMs } = outliers?.ejection ?? { baseMs: 0, maxMs: 0 };
    if (baseMs > maxMs) {
      const message = `expected at most max, which is ${durationText(maxMs)}, got ${durationText(baseMs)}`;
      faults.push({ path: ["upstreams", name, "outliers", "ejection", "base"], message });
    }
    return faults;
  });
}
