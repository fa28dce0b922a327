// Runs the tests of modules without a page (`web/**/*.test.ts`), bundled so that Node.js can read them.

import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

async function filesOf(folder, ending) {
  const names = await readdir(folder, { recursive: true });
  return names.filter((name) => name.endsWith(ending)).map((name) => join(folder, name));
}

const home = dirname(fileURLToPath(import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "qwen-queue-ui-"));
try {
  await build({
    absWorkingDir: home,
    entryPoints: await filesOf(join(home, "web"), ".test.ts"),
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    outdir: folder,
    logLevel: "warning",
  });
  const files = await filesOf(folder, ".test.mjs");
  process.exitCode = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" }).status ?? 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
