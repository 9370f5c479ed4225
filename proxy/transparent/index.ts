export { Interceptor, type InterceptPlan } from "./interceptor.ts";
export { KnownAddresses } from "./known-addresses.ts";
