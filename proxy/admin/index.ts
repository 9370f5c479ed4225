export { ADMIN_PAGES, AdminServer } from "./server.ts";
