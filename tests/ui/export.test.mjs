// Conversations as files, and requests as programs.

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { env, useBrowser, withPage } from "./helpers/browser.mjs";
import { ask, lastAnswer, openSettings } from "./helpers/playground.mjs";

useBrowser();

const folder = mkdtempSync(join(tmpdir(), "qwen-queue-export-"));
const QUESTION = "What is qwen-queue? Ελληνικά, кириллица, 日本語, العربية";

async function exported(page, kind) {
  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export" }).click();
  await page.getByRole("menuitem", { name: kind }).click();
  const file = await download;
  const path = join(folder, `${Date.now()}-${file.suggestedFilename()}`);
  await file.saveAs(path);
  return path;
}

test("exports JSON with pictures, and imports it as it was", async () => {
  await withPage({ url: env.seeingUrl }, async (page) => {
    const panel = await openSettings(page);
    await panel.getByLabel("Maximum of tokens").fill("6");
    await page.getByLabel("Pictures and videos").setInputFiles(join(env.pictures, "photo.jpg"));
    await ask(page, "What is this?");
    await lastAnswer(page);
    const path = await exported(page, /^JSON/);
    const { conversation, files, format } = JSON.parse(readFileSync(path, "utf8"));
    assert.equal(format, "qwen-queue.conversation");
    const [file] = Object.values(files);
    const bytes = Buffer.from(file.split(",")[1], "base64");
    assert.deepEqual(bytes, readFileSync(join(env.pictures, "photo.jpg")));
    assert.ok(!readFileSync(path, "utf8").includes(env.key), "the key is not in it");
    await withPage({ url: env.seeingUrl }, async (other) => {
      await other.getByLabel("File of a conversation").setInputFiles(path);
      await other.getByRole("img", { name: "photo.jpg" }).waitFor();
      await other.getByText("What is this?").first().waitFor();
      const again = JSON.parse(readFileSync(await exported(other, /^JSON/), "utf8"));
      assert.deepEqual(again.conversation.nodes, conversation.nodes);
      assert.deepEqual(again.files, files);
    });
  });
});

test("refuses to import what is no conversation", async () => {
  await withPage({}, async (page) => {
    const path = join(folder, "other.json");
    writeFileSync(path, '{"format": "qwen-queue.conversation", "version": 1, "conversation": {"id": "a"}}');
    await page.getByLabel("File of a conversation").setInputFiles(path);
    await page.getByText("The file is no conversation of this playground.").waitFor();
  });
});

test("exports Markdown, and prints a PDF of the conversation alone", async () => {
  await withPage({}, async (page) => {
    await ask(page, QUESTION);
    const answer = await lastAnswer(page);
    const markdown = readFileSync(await exported(page, /^Markdown/), "utf8");
    assert.ok(markdown.startsWith(`# ${QUESTION}\n\n## Question\n\n${QUESTION}\n\n## Answer\n\n`), markdown);
    assert.ok(markdown.includes(answer.split("\n")[0].slice(0, 20)));

    const prints = page.evaluate(() => new Promise((resolve) => (window.print = () => resolve(true))));
    await page.getByRole("button", { name: "Export" }).click();
    await page.getByRole("menuitem", { name: /^PDF/ }).click();
    await page.getByRole("button", { name: "Print" }).click();
    assert.equal(await prints, true);

    await page.emulateMedia({ media: "print" });
    assert.equal(await page.getByRole("textbox", { name: "Question", exact: true }).count(), 0, "no composer");
    assert.equal(await page.getByRole("navigation").count(), 0, "no sidebar");
    const path = join(folder, "conversation.pdf");
    await page.pdf({ path, format: "A4" });
    const bytes = readFileSync(path);
    assert.equal(bytes.subarray(0, 5).toString(), "%PDF-");
    const read = spawnSync("pdftotext", ["-layout", path, "-"], { encoding: "utf8" });
    if (read.error) return; // poppler is not installed
    assert.match(read.stdout, /What is qwen-queue\? Ελληνικά, кириллица/);
    assert.ok(read.stdout.replace(/\s+/g, " ").includes(answer.replace(/\s+/g, " ").slice(0, 40)), read.stdout);
    assert.doesNotMatch(read.stdout, /New conversation|Ask a question/);
  });
});

test("copies requests as curl and as Python, which give an answer", async () => {
  await withPage({ permissions: ["clipboard-read", "clipboard-write"] }, async (page) => {
    const panel = await openSettings(page);
    await panel.getByLabel("System prompt").fill("It's \"brief\": no $KEY, no `ls`, no \\n.");
    await ask(page, QUESTION);
    await lastAnswer(page);
    for (const [item, command] of [
      ["Copy as curl", "bash"],
      ["Copy as Python", "python3"],
    ]) {
      await page.getByRole("button", { name: "Copy the request" }).click();
      await page.getByRole("menuitem", { name: item }).click();
      await page.getByText(item.replace("Copy", "Copied")).first().waitFor();
      const program = await page.evaluate(() => navigator.clipboard.readText());
      assert.ok(!program.includes(env.key));
      const said = execFileSync(command, ["-"], { input: program, env: { ...process.env, KEY: env.key }, encoding: "utf8" });
      assert.match(said, /\w{4}/);
      if (command === "bash") assert.equal(JSON.parse(said).status, "completed", said);
    }
  });
});
