// Starts a `qwen-queue up` of its own, which tests may kill and start again, and the address of its web UI.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../helpers/browser.mjs";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const target = process.env.CARGO_TARGET_DIR ?? join(repository, "target");
const binary = process.env.QWEN_QUEUE_BIN ?? join(target, "debug", "qwen-queue");

export const KEY = "sk-ui-client-0123456789";
export const ADMIN_KEY = "sk-ui-operator-0123456789";

/** Tasks that are not due while the tests run; the key of one is not there. */
const SCHEDULE = `
[[task]]
name = "nightly-report"
cron = "@yearly"
timezone = "Europe/Oslo"
owner = "reports"
missed = "once"
request = { prompt = "How do I add a worker?", max_tokens = 8 }

[[task]]
name = "by-a-lost-key"
cron = "@yearly"
key = "key_00000000000000000000000000000000"
request = { prompt = "How do I add a worker?", max_tokens = 8 }

[[task]]
name = "on-demand"
cron = "@yearly"
owner = "reports"
enabled = false
request = { prompt = "How do I add a worker?", max_tokens = 8 }
`;

export class Server {
  static async start() {
    const server = new Server();
    server.home = mkdtempSync(join(tmpdir(), "qwen-queue-monitor-"));
    server.slowModel = join(server.home, "slow.gguf");
    const synth = ["model", "synth", "--shape", "tiny", "--quant", "q8_0", "--output", server.slowModel];
    execFileSync(binary, synth, { stdio: "ignore" });
    writeFileSync(join(server.home, "schedule.toml"), SCHEDULE);
    server.port = await freePort();
    server.base = `http://127.0.0.1:${server.port}`;
    await server.up();
    server.ui = `${server.base}/ui/`;
    return server;
  }

  /** Starts the process, and waits until a worker takes tasks. */
  async up() {
    const log = openSync(join(this.home, "up.log"), "a");
    this.process = spawn(binary, ["up"], {
      cwd: this.home,
      stdio: ["ignore", log, log],
      env: {
        PATH: process.env.PATH,
        HOME: this.home,
        HOST: "127.0.0.1",
        PORT: String(this.port),
        DATA_DIR: join(this.home, "data"),
        LOG_DIR: join(this.home, "logs"),
        API_KEYS: KEY,
        ADMIN_API_KEY: ADMIN_KEY,
        MODEL_NAME: `demo,${this.slowModel}`,
        SCHEDULE_FILE: join(this.home, "schedule.toml"),
        // A task whose worker is killed is a dead letter after one short lease.
        MAX_ATTEMPTS: "1",
        LEASE_SECONDS: "3",
        AUTH_FAILURES_PER_MINUTE: "0",
      },
    });
    const isReady = async () => (await fetch(`${this.base}/ready`)).status === 200;
    await until("the server to be ready", () => isReady().catch(() => false), 90_000);
  }

  /** Kills the process, as a crash would. */
  async kill() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGKILL");
    await ended;
  }

  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => this.process.once("exit", resolve));
      this.process.kill("SIGTERM");
      await ended;
    }
    const log = readFileSync(join(this.home, "up.log"), "utf8");
    rmSync(this.home, { recursive: true, force: true });
    if (log.includes("panicked at")) throw new Error(`the server panicked:\n${log.slice(-3000)}`);
  }

  /** Sends a request and returns the status and the JSON of the answer. */
  async call(method, path, { key = KEY, json } = {}) {
    const headers = { "X-API-Key": key, ...(json && { "Content-Type": "application/json" }) };
    const answer = await fetch(this.base + path, { method, headers, body: json && JSON.stringify(json) });
    return { status: answer.status, json: await answer.json() };
  }

  async admin(method, path, json) {
    return (await this.call(method, path, { key: ADMIN_KEY, json })).json;
  }

  async submit(fields = {}, key = KEY) {
    const json = { prompt: "How do I add a worker?", max_tokens: 24, ...fields };
    const { status, json: reply } = await this.call("POST", "/generate", { key, json });
    if (status !== 202) throw new Error(`POST /generate answers ${status}: ${JSON.stringify(reply)}`);
    return reply.task_id;
  }

  /** A task that runs for as long as the tests need it to. */
  submitLong() {
    return this.submit({ model: "slow", raw: true, prompt: "count", max_tokens: 2000, temperature: 0 });
  }

  async status(taskId) {
    return (await this.call("GET", `/status/${taskId}`)).json.status;
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
