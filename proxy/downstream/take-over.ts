/**
 * An accepted connection, made to read into a buffer of ours.
 *
 * `node:net` offers `onread` to the sockets that connect and not to those that are accepted: an accepted one allocates
 * 64 KiB for every read and passes it through a Readable. So the accepted socket's handle is moved to a second socket
 * which is made with the option. `_handle` is the one undocumented name that heddle uses; Node has had it since 0.x, and
 * a Node without it is told apart here, where the plain way is then taken.
 */
import { Socket, type SocketConstructorOpts } from "node:net";
import { READ_BUFFER } from "../read-buffer.ts";

interface WithHandle {
  _handle: object | null;
}

/**
 * @param accepted from a server with `pauseOnConnect`, so that nothing has been read yet; not to be used afterwards
 * @param onRead told of every read; the bytes are valid until it returns
 * @returns the socket that takes its place, reading
 */
export function takeOver(accepted: Socket, onRead: (bytes: Buffer, length: number) => void): Socket {
  const bare = accepted as unknown as WithHandle;
  const handle = bare._handle;
  if (handle === null || handle === undefined) {
    accepted.on("data", (bytes: Buffer) => onRead(bytes, bytes.length));
    // It was accepted paused, which a listener alone does not end.
    accepted.resume();
    return accepted;
  }
  bare._handle = null;
  accepted.destroy();
  const options = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: READ_BUFFER,
      callback: (length: number) => {
        onRead(READ_BUFFER, length);
        return true;
      },
    },
  };
  return new Socket(options as object as SocketConstructorOpts);
}
