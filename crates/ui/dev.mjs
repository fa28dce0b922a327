// Serves `dist/` at /ui/ with the gateway's content security policy, and passes everything else to the gateway
// (GATEWAY, http://127.0.0.1:8000 by default). Does not build: run `npm run build` after a change.

import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const gateway = new URL(process.env.GATEWAY ?? "http://127.0.0.1:8000");
const port = Number(process.env.PORT ?? 5173);

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

async function serveFile(path, response) {
  const name = path === "/ui/" ? "index.html" : path.slice("/ui/".length);
  const type = TYPES[extname(name)];
  const bytes = type && !name.includes("/") ? await readFile(join(dist, name)).catch(() => null) : null;
  if (bytes === null) return response.writeHead(404).end("not found");
  // The policy is the gateway's own, with which it serves the built page.
  const page = await fetch(new URL("/ui/", gateway), { method: "HEAD" }).catch(() => null);
  const policy = page?.headers.get("content-security-policy");
  if (!policy) return response.writeHead(502).end(`${gateway.href} does not answer, or serves no /ui/`);
  response.writeHead(200, { "content-type": type, "content-security-policy": policy, "cache-control": "no-cache" });
  response.end(bytes);
}

function pass(incoming, response) {
  const options = { method: incoming.method, path: incoming.url, headers: incoming.headers };
  const outgoing = request(gateway, options, (reply) => {
    response.writeHead(reply.statusCode ?? 502, reply.headers);
    response.flushHeaders();
    reply.pipe(response);
    reply.on("error", () => response.destroy());
  });
  outgoing.on("error", (error) => {
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(`${gateway.href} does not answer: ${error.message}`);
  });
  response.on("close", () => outgoing.destroy());
  incoming.pipe(outgoing);
}

const server = createServer((incoming, response) => {
  const { pathname } = new URL(incoming.url ?? "/", "http://localhost");
  if (pathname === "/ui") response.writeHead(302, { location: "/ui/" }).end();
  else if (pathname.startsWith("/ui/")) void serveFile(pathname, response);
  else pass(incoming, response);
});

server.listen(port, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/ui/ with the gateway ${gateway.href}`);
});
