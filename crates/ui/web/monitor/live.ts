/** What all pages of the monitor watch: the overview, and the time by the queue's clock. */

import { computed, signal } from "@preact/signals";
import { getHistory, getOverview } from "./api";
import { Poll } from "./poll";
import type { History } from "./replies";

/** How often the overview is read, in milliseconds. */
const EVERY = 2000;
/** The age from which data is called old: two overviews were missed. */
const OLD = 3 * EVERY;
const HISTORY_EVERY = 10_000;

export const overview = new Poll(getOverview, EVERY);

/** This machine's time, each second. */
export const tick = signal(Date.now());

/** The queue's clock minus this machine's, in milliseconds. */
const skew = computed(() => {
  const [answer, at] = [overview.data.value, overview.at.value];
  return answer && at !== null ? answer.at - at : 0;
});

/** The time by the queue's clock. */
export const now = computed(() => tick.value + skew.value);

/** The age of the overview, in milliseconds, once it is old; else `null`. */
export const staleFor = computed(() => {
  const at = overview.at.value;
  const age = at === null ? 0 : tick.value - at;
  return age > OLD ? age : null;
});

let watchedKey: string | null = null;

/** Watches the overview with a key, and returns what ends that. What was read is kept until the key changes. */
export function watch(key: string | null): () => void {
  if (key !== watchedKey) overview.reset();
  watchedKey = key;
  const stop = overview.start();
  const timer = setInterval(() => {
    tick.value = Date.now();
  }, 1000);
  return () => {
    stop();
    clearInterval(timer);
  };
}

/** Returns a poll of the gateway's history of the latest minutes. */
export function historyOf(minutes: number): Poll<History> {
  return new Poll((abort) => getHistory(minutes, abort), HISTORY_EVERY);
}
