/** The theme of the page: light, dark, or that of the system. */

import { computed, signal } from "@preact/signals";
import { applyTheme, storedTheme, storeTheme, type Theme } from "./theme-storage";

export type { Theme } from "./theme-storage";

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const system = signal<"light" | "dark">(systemIsDark.matches ? "dark" : "light");
systemIsDark.addEventListener("change", (event) => {
  system.value = event.matches ? "dark" : "light";
});

/** The choice. */
export const theme = signal<Theme>(storedTheme());

/** The theme that is shown. Read it where colors are drawn by a script (canvas). */
export const shownTheme = computed<"light" | "dark">(() => (theme.value === "system" ? system.value : theme.value));

export function setTheme(chosen: Theme): void {
  theme.value = chosen;
  storeTheme(chosen);
  applyTheme(chosen);
}
