/**
 * A certificate and its key in two files, and what happens when they change.
 *
 * A Secret is mounted as links to a folder of which Kubernetes makes a new one and swaps a link, so the files themselves are never written: what is
 * watched is the folder that they stand in. Such notices get lost on some file systems, so the files are read again each
 * minute as well. A pair that does not fit together, as between two writes, is left alone: the one in use stays until there is a whole one.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import type { Clock, Log, Timer } from "../../core/index.ts";

/** Notices of one change come in a bunch. */
const SETTLE_MS = 50;
const READ_AGAIN_MS = 60_000;

export interface CertificatePair {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
}

interface Files {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateUser {
  use(pair: CertificatePair): void;
  refused(): void;
}

export class CertificateFiles {
  readonly #files: Files;
  readonly #clock: Clock;
  readonly #log: Log;
  #watchers: FSWatcher[] = [];
  /** The texts that were looked at last, used or not: a bad pair is told of once. */
  #seen = "";
  #settling: Timer | undefined;
  #reading: Timer | undefined;
  /** One look after the other. */
  #looks: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(files: Files, clock: Clock, log: Log) {
    this.#files = files;
    this.#clock = clock;
    this.#log = log;
  }

  /** @throws Error when there is no pair that could be used */
  async load(): Promise<CertificatePair> {
    const texts = await this.#read();
    this.#seen = texts.join("");
    return this.#pairOf(texts);
  }

  /** Tells of every new pair from now on. */
  follow(user: CertificateUser): void {
    const look = () => {
      this.#looks = this.#looks.then(() => this.#look(user));
    };
    const settle = () => {
      this.#settling ??= this.#clock.schedule(SETTLE_MS, () => {
        this.#settling = undefined;
        look();
      });
    };
    const again = () => {
      this.#reading = this.#clock.schedule(READ_AGAIN_MS, () => {
        look();
        again();
      });
    };
    for (const folder of new Set([this.#files.certificate, this.#files.key].map((file) => dirname(file))))
      try {
        const watcher = watch(folder, { persistent: false }, settle);
        watcher.on("error", (err) =>
          this.#log.warn({ err, folder }, "cannot watch for new certificates; they are read each minute"),
        );
        this.#watchers.push(watcher);
      } catch (err) {
        this.#log.warn({ err, folder }, "cannot watch for new certificates; they are read each minute");
      }
    again();
  }

  stop(): void {
    this.#stopped = true;
    this.#settling?.cancel();
    this.#reading?.cancel();
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  async #look(user: CertificateUser): Promise<void> {
    if (this.#stopped) return;
    let texts: readonly string[];
    try {
      texts = await this.#read();
    } catch (err) {
      this.#refuse(user, String(err), err);
      return;
    }
    const seen = texts.join("");
    if (seen === this.#seen) return;
    try {
      const pair = this.#pairOf(texts);
      this.#seen = seen;
      user.use(pair);
      this.#log.info({ expires: new X509Certificate(pair.cert).validTo }, "a new certificate is used");
    } catch (err) {
      this.#refuse(user, seen, err);
    }
  }

  #refuse(user: CertificateUser, seen: string, err: unknown): void {
    if (this.#stopped || seen === this.#seen) return;
    this.#seen = seen;
    user.refused();
    this.#log.warn({ err }, "the new certificate cannot be used; the old one stays");
  }

  #read(): Promise<readonly string[]> {
    return Promise.all([readFile(this.#files.certificate, "utf8"), readFile(this.#files.key, "utf8")]);
  }

  #pairOf([cert = "", key = ""]: readonly string[]): CertificatePair {
    const { certificate, key: keyFile } = this.#files;
    const tried = <T>(what: string, make: () => T): T => {
      try {
        return make();
      } catch (cause) {
        throw new Error(`expected ${what}: ${(cause as Error).message}`, { cause });
      }
    };
    const leaf = tried(`a certificate in PEM in ${certificate}`, () => new X509Certificate(cert));
    const privateKey = tried(`a private key in PEM in ${keyFile}`, () => createPrivateKey(key));
    if (!leaf.checkPrivateKey(privateKey))
      throw new Error(`expected the key of the certificate in ${certificate}, got another one in ${keyFile}`);
    // The rest of the chain is read as well.
    tried(`a chain of certificates in ${certificate}`, () => createSecureContext({ cert, key }));
    return { cert, key, expiresAtMs: Date.parse(leaf.validTo) };
  }
}
