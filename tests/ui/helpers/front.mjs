// A TCP proxy before a server, whose connections a test can cut.

import { connect, createServer } from "node:net";

/** Starts a front of the server at `url`. */
export async function front(url) {
  const target = new URL(url);
  const sockets = new Set();
  let isDown = false;
  let cutAt = null;
  const server = createServer((incoming) => {
    if (isDown) return incoming.destroy();
    const outgoing = connect(Number(target.port), target.hostname);
    for (const [from, to] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ]) {
      sockets.add(from);
      from.on("data", (data) => {
        if (from === outgoing && cutAt !== null && data.includes(cutAt)) {
          to.write(data.subarray(0, data.indexOf(cutAt)), () => to.destroy());
          cutAt = null;
        } else {
          to.write(data);
        }
      });
      from.on("error", () => to.destroy());
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}${target.pathname}`,
    /** Cuts all connections and refuses new ones until `restore`. */
    cut() {
      isDown = true;
      for (const socket of sockets) socket.destroy();
    },
    /** Cuts the connection of the next reply that has this text, right before it. */
    cutReplyAt(text) {
      cutAt = text;
    },
    /** Whether the reply was cut. */
    hasCut() {
      return cutAt === null;
    },
    restore() {
      isDown = false;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
