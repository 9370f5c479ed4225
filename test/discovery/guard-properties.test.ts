import fc from "fast-check";
import { test } from "tap";
import type { Instance } from "../../discovery/source.ts";
import { guarded, range, said } from "../support/guarded.ts";

const PORTS = [1, 2, 3, 4, 5, 6];
const WORDS = ["", "", "", "w", "c", "m", "u", undefined] as const;

const aList = fc
  .array(fc.constantFrom(...WORDS), { minLength: PORTS.length, maxLength: PORTS.length })
  .map((words) =>
    PORTS.flatMap((port, i) => (words[i] === undefined ? [] : [`${port}${words[i]}`])).join(" "),
  );

const aStep = fc.oneof(
  { weight: 4, arbitrary: fc.record({ on: fc.constant("list" as const), text: aList }) },
  {
    weight: 1,
    arbitrary: fc.record({ on: fc.constant("list" as const), text: fc.constantFrom("", range(1, 6)) }),
  },
  { weight: 1, arbitrary: fc.record({ on: fc.constant("silent" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      on: fc.constant("time" as const),
      ms: fc.constantFrom(10, 50, 100, 1_000, 4_000, 12_000, 90_000),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      on: fc.constant("probe" as const),
      port: fc.constantFrom(...PORTS),
      alive: fc.boolean(),
    }),
  },
);

const portsOf = (text: string | undefined) => new Set(text?.match(/\d+/g)?.map(Number) ?? []);

test("whatever a registry, the instances and the time do, the rules hold", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(aStep, { maxLength: 25 }),
      fc.option(aList, { nil: undefined }),
      fc.nat(1_000),
      async (steps, copy, seed) => {
        const kept = copy?.replaceAll(/\d+[cmu] ?/g, "").trim();
        const all = guarded({
          seed,
          believeAfterMs: 30_000,
          keepForMs: 60_000,
          ...(kept ? { kept } : {}),
        });
        const { guard, told, dead, asked, pass, used } = all;
        let list: Instance[] | undefined;
        let isSilent = false;
        const everWell = portsOf(kept);
        /** In a silence: what was used at its beginning, and how many questions there had been. */
        let atSilence: { ports: Set<number>; asked: number; atMs: number } | undefined;
        const diedOnce = new Set<number>();
        for (const step of steps) {
          switch (step.on) {
            case "list":
              list = said(step.text);
              isSilent = false;
              atSilence = undefined;
              for (const { port, health } of list)
                if (health === "passing" || health === "warning") everWell.add(port);
              guard.list(list);
              break;
            case "silent":
              guard.silent("away");
              if (!isSilent)
                atSilence = { ports: portsOf(used()), asked: asked.length, atMs: all.clock.now() };
              if (!isSilent) diedOnce.clear();
              for (const port of dead) diedOnce.add(port);
              isSilent = true;
              break;
            case "time":
              await pass(step.ms);
              break;
            case "probe":
              if (step.alive) dead.delete(step.port);
              else {
                dead.add(step.port);
                diedOnce.add(step.port);
              }
          }
          const state = JSON.stringify({ told, list: list?.map(({ port, health }) => `${port} ${health}`) });
          const ports = portsOf(used());
          for (const port of ports)
            if (!everWell.has(port)) throw new Error(`${port} was never well: ${state}`);
          if (isSilent && atSilence !== undefined && all.clock.now() - atSilence.atMs < 60_000)
            for (const port of atSilence.ports)
              if (!ports.has(port) && !diedOnce.has(port))
                throw new Error(`${port} was lost in a silence: ${state}`);
          if (guard.view().state !== "current" && guard.view().state !== "doubting") continue;
          if (list === undefined || isSilent) continue;
          await pass(60);
          const now = portsOf(used());
          for (const { port, health } of list) {
            if ((health === "passing" || health === "warning") && !now.has(port))
              throw new Error(`${port} is ${health} and not used: ${state}`);
            if (health === "maintenance" && now.has(port))
              throw new Error(`${port} is in maintenance: ${state}`);
            if (health === "critical" && now.has(port) && !used()!.includes(`${port}*`))
              throw new Error(`${port} is critical and no last resort: ${state}`);
          }
        }
        for (let i = 1; i < told.length; i++)
          if (told[i] === told[i - 1]) throw new Error(`told twice: ${told[i]}`);
        guard.stop();
        if (all.clock.pending > 0) throw new Error(`${all.clock.pending} timers are left`);
        const count = told.length;
        await pass(5_000);
        if (told.length !== count) throw new Error("told after its stop");
      },
    ),
    { numRuns: 300 },
  );
  t.pass();
});

test("whatever the registry forgets, an instance that answers and of which nothing is said is not lost when most go", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.tuple(
          fc.subarray(PORTS, { maxLength: 2 }),
          fc.constantFrom("", "u"),
          fc.constantFrom(100, 2_000, 11_000),
        ),
        { minLength: 1, maxLength: 8 },
      ),
      fc.nat(1_000),
      async (forgotten, seed) => {
        const { says, used, guard } = guarded({ seed });
        await says(range(1, 6));
        for (const [left, word, ms] of forgotten) {
          const text = PORTS.map((port) =>
            left.includes(port) ? `${port}` : word === "" ? "" : `${port}${word}`,
          );
          await says(text.filter((one) => one !== "").join(" "), ms);
          if (used() !== range(1, 6)) throw new Error(`left of all: ${used()}`);
        }
        guard.stop();
      },
    ),
    { numRuns: 100 },
  );
  t.pass();
});

test("whatever has been, of those that do not answer none is left a while after a registry lists nobody", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(aStep, { maxLength: 12 }), fc.nat(1_000), async (steps, seed) => {
      const { guard, dead, pass, says, used, clock } = guarded({ seed, kept: range(1, 6) });
      for (const step of steps) {
        if (step.on === "list") guard.list(said(step.text));
        else if (step.on === "silent") guard.silent("away");
        else if (step.on === "time") await pass(step.ms);
        else if (step.alive) dead.delete(step.port);
        else dead.add(step.port);
      }
      for (const port of PORTS) dead.add(port);
      await says("", 5_000);
      if (used() !== "") throw new Error(`still used: ${used()}`);
      if (guard.view().state !== "current") throw new Error(guard.view().state);
      // What is left is the confirmation.
      if (clock.pending > 1) throw new Error(`${clock.pending} timers are left`);
      guard.stop();
    }),
    { numRuns: 200 },
  );
  t.pass();
});
