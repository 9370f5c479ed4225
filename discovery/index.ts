export { ConsulAgent, type ServiceRegistration } from "./consul/agent.ts";
export { readHealthEntries } from "./consul/health-entries.ts";
export { Registration } from "./consul/registration.ts";
export { serviceRegistration } from "./consul/service-registration.ts";
export { ConsulSource } from "./consul/watch.ts";
export type { Source } from "./source.ts";
export { staticSource } from "./static.ts";
