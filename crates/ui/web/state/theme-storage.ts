/** The stored choice of a theme. Depends on nothing, because it runs before the app. */

export type Theme = "system" | "light" | "dark";

const NAME = "qwen-queue.theme";

export function storedTheme(): Theme {
  const stored = localStorage.getItem(NAME);
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function storeTheme(theme: Theme): void {
  if (theme === "system") localStorage.removeItem(NAME);
  else localStorage.setItem(NAME, theme);
}

/** Sets `data-theme` on the document, which the style sheet's `color-scheme` depends on. */
export function applyTheme(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
