// Builds the web UI into `dist/`, which is committed, so that cargo needs no Node.

import { copyFile, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const home = dirname(fileURLToPath(import.meta.url));
const dist = join(home, "dist");
const copied = ["index.html", "icon.svg", "manifest.webmanifest"];

await mkdir(dist, { recursive: true });
const parts = await mkdtemp(join(home, ".dist-"));
try {
  await build({
    absWorkingDir: home,
    entryPoints: { app: "web/main.tsx", theme: "web/state/apply-theme.ts" },
    bundle: true,
    format: "iife",
    target: ["chrome123", "firefox121", "safari17.5"],
    minify: true,
    legalComments: "eof",
    outdir: parts,
    logLevel: "info",
  });
  for (const name of copied) {
    await copyFile(join(home, "web", name), join(parts, name));
  }
  // Renaming replaces each file at once, so a server that reads `dist/` never sees half a file.
  const made = await readdir(parts);
  for (const name of made) {
    await rename(join(parts, name), join(dist, name));
  }
  for (const name of await readdir(dist)) {
    if (!made.includes(name)) await rm(join(dist, name));
  }
} finally {
  await rm(parts, { recursive: true, force: true });
}
