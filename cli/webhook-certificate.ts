/**
 * `heddle webhook-certificate`: makes the webhook's certificate in its cluster and renews it; for a Job.
 */
import { type CertificateOrder, provideClusterCertificate } from "../kubernetes/index.ts";
import { wallClock } from "../proxy/index.ts";
import { type Arguments, UsageError } from "./command.ts";

/** Labels of DNS; that of a Service begins with a letter, and that of a namespace need not. */
const NAMES: Readonly<Record<"name" | "namespace", RegExp>> = {
  name: /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/,
  namespace: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
};

const DAY_MS = 24 * 3_600_000;

/** @returns 0 when there is a certificate that will do, 1 when there is none and none could be made */
export async function webhookCertificate({ options }: Arguments): Promise<number> {
  const order = orderOf(options);
  const text = (name: string) => (typeof options[name] === "string" ? options[name] : undefined);
  try {
    const said = await provideClusterCertificate(
      { server: text("api-server"), tokenFile: text("token-file"), caFile: text("ca-file") },
      process.env,
      order,
      wallClock(),
    );
    process.stdout.write(`heddle: ${said}\n`);
    return 0;
  } catch (thrown) {
    process.stderr.write(`heddle: ${(thrown as Error).message}\n`);
    return 1;
  }
}

function orderOf(options: Arguments["options"]): CertificateOrder {
  const nameAt = (option: keyof typeof NAMES) => {
    const text = String(options[option] ?? "");
    if (!NAMES[option].test(text))
      throw new UsageError(
        `--${option}: expected a name such as heddle-webhook, got ${JSON.stringify(text)}`,
      );
    return text;
  };
  const timeAt = (option: string) => {
    const text = String(options[option]);
    const days = Number(/^(\d{1,5})d$/.exec(text)?.[1] ?? 0);
    if (days === 0)
      throw new UsageError(`--${option}: expected days such as 365d, got ${JSON.stringify(text)}`);
    return days * DAY_MS;
  };
  const [validMs, renewWithinMs] = [timeAt("valid"), timeAt("renew-within")];
  if (renewWithinMs >= validMs)
    throw new UsageError(
      "--renew-within: expected less than --valid, or every certificate is renewed at once",
    );
  return { namespace: nameAt("namespace"), name: nameAt("name"), validMs, renewWithinMs };
}
