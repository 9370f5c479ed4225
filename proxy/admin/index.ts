export { ADMIN_PAGES, AdminServer, methodsOf } from "./server.ts";
