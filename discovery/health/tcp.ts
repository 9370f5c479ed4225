/**
 * Whether something listens.
 *
 * The socket is closed as soon as it is connected, without waiting for the other side to close as well: one that never
 * does would hold a socket for the whole time limit of each check. As nothing was sent and, as a rule, nothing has come,
 * the endpoint sees an orderly end (FIN) and no reset.
 */
import { type Ask, dial, failed } from "./ask.ts";

export const askTcp: Ask = (endpoint, tell) => {
  const socket = dial(endpoint);
  socket.once("connect", () => tell({ passing: true, note: "connected" }));
  socket.once("error", (error) => tell(failed(error)));
  return () => {
    socket.destroy();
    return undefined;
  };
};
