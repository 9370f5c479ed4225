export { HealthPort } from "./health-port.ts";
export { ADMIN_PAGES, AdminServer, methodsOf } from "./server.ts";
