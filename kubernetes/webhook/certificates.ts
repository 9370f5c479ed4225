/**
 * An authority and a certificate of it for the webhook's server, made in memory.
 *
 * Not one certificate that vouches for itself: with an authority of its own behind each, what the API server is told to trust can
 * hold the old one and the new one while they change places. The authority's key is thrown away at once, so nobody can make another
 * certificate that the API server would believe; a new one comes with a new authority.
 */
import { createPrivateKey, type webcrypto, X509Certificate } from "node:crypto";
// In front of what needs it: the library below looks for it as it is loaded.
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

export interface MadeCertificate {
  /** PEM texts. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Clocks of a cluster differ a little. */
const BACKDATED_MS = 5 * 60_000;

/**
 * @param names DNS names of the server, the first also its common name
 * @param nowMs milliseconds since 1970
 */
export async function makeCertificate(
  names: readonly string[],
  nowMs: number,
  validMs: number,
): Promise<MadeCertificate> {
  const [caKeys, keys] = [await newKeys(), await newKeys()];
  const times = { notBefore: new Date(nowMs - BACKDATED_MS), notAfter: new Date(nowMs + validMs) };
  const authority = await X509CertificateGenerator.createSelfSigned({
    ...times,
    name: "CN=heddle webhook authority",
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      await SubjectKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const certificate = await X509CertificateGenerator.create({
    ...times,
    // A common name holds 64 characters, and nobody reads it who reads the names below.
    subject: `CN=${names[0]!.slice(0, 64)}`,
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns", value }))),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(caKeys.publicKey),
    ],
  });
  const key = PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  const lines = (pem: string) => `${pem.trim()}\n`;
  return { ca: lines(authority.toString("pem")), cert: lines(certificate.toString("pem")), key: lines(key) };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

/** The certificates in a PEM text, each by itself; what cannot be read is left out, as the API server takes no text that has any of it. */
export function readableIn(pem: string): string[] {
  const found = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return found.flatMap((one) => {
    try {
      return [`${new X509Certificate(one).toString().trim()}\n`];
    } catch {
      return [];
    }
  });
}

/** When it was made, in milliseconds since 1970. */
export function madeAtMs(cert: string): number {
  return Date.parse(new X509Certificate(cert).validFrom) + BACKDATED_MS;
}

/** Why a certificate will not do, or will not do for much longer; undefined where it will. */
export function whyNot(
  { ca, cert, key }: MadeCertificate,
  names: readonly string[],
  nowMs: number,
  leastMs: number,
): string | undefined {
  let leaf: X509Certificate;
  let authority: X509Certificate;
  let isItsKey: boolean;
  try {
    leaf = new X509Certificate(cert);
    authority = new X509Certificate(ca);
    isItsKey = leaf.checkPrivateKey(createPrivateKey(key));
  } catch (thrown) {
    return `it cannot be read: ${(thrown as Error).message}`;
  }
  const missing = names.find((name) => leaf.checkHost(name) === undefined);
  if (missing !== undefined) return `it is not for ${missing}`;
  if (!leaf.checkIssued(authority) || !leaf.verify(authority.publicKey)) return "it is not of its authority";
  // The webhook would not serve with it.
  if (!isItsKey) return "its key is another one's";
  // By a clock that was wrong; everybody else's says that it does not hold yet.
  const beginsMs = Math.max(Date.parse(leaf.validFrom), Date.parse(authority.validFrom));
  if (beginsMs > nowMs) return `it begins at ${leaf.validFrom}`;
  const endsMs = Math.min(Date.parse(leaf.validTo), Date.parse(authority.validTo));
  return endsMs - nowMs < leastMs ? `it ends at ${leaf.validTo}` : undefined;
}
