/**
 * Who somebody is, whatever proves it.
 *
 * Discovery learns who an endpoint should be together with where it is, since nobody else knows. How that is proved
 * (certificates of Consul's authority, of SPIFFE, or of files) is not its matter, so no certificate and no URI stands here.
 */
export interface PeerIdentity {
  /** The name under which it may be called, such as `orders`. */
  readonly service: string;
  readonly datacenter?: string;
  readonly namespace?: string;
}

/** As people read it: `orders@dc1`. */
export function identityText({ service, datacenter, namespace }: PeerIdentity): string {
  const where = [namespace, datacenter].filter((part) => part !== undefined).join(".");
  return where === "" ? service : `${service}@${where}`;
}
