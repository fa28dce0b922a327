// Checks of accessibility and of narrow screens.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Returns what axe-core finds that is serious or critical, as lines to read. */
export async function findings(page) {
  // Colors are checked once transitions have ended.
  await page.waitForTimeout(250);
  // Evaluated by the debugger, which the content security policy does not hold for.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`));
}

/** Returns by how many pixels the page can be scrolled sideways. */
export function sideways(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    const wide = [...document.querySelectorAll("main, .thread, .shell-page")].map((one) => one.scrollWidth - one.clientWidth);
    return Math.max(root.scrollWidth - root.clientWidth, ...wide);
  });
}
