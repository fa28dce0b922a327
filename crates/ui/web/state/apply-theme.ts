/**
 * Applies the chosen theme before the page is painted. Built to a script of its own, which runs before the app's.
 */
import { applyTheme, storedTheme } from "./theme-storage";

applyTheme(storedTheme());
