// What docs/WEB_UI.md shows of the playground.

import { env } from "../helpers/browser.mjs";
import { ask, lastAnswer } from "../helpers/playground.mjs";
import { conversation, importInto, marked } from "../helpers/sample.mjs";

export const scenes = [
  {
    name: "playground",
    async show(page) {
      await importInto(page, conversation());
      await page.getByText("Thought for 4.2 s").waitFor();
      await page.getByRole("region", { name: "Conversation" }).evaluate((thread) => thread.scrollTo(0, 0));
    },
  },
  {
    name: "skill",
    options: { url: env.seeingUrl },
    async show(page) {
      await importInto(page, await marked(page));
      await page.getByRole("list", { name: "What was found" }).waitFor();
    },
  },
  {
    name: "comparison",
    async show(page) {
      await page.getByRole("button", { name: "Compare side by side" }).click();
      await ask(page, "What happens if a worker dies?");
      await lastAnswer(page);
    },
  },
];
