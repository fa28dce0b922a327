/** Formats numbers and times for people. Pure, so that every page says the same thing in the same way. */

const COUNT = new Intl.NumberFormat("en-US");

/** Formats a whole number with separators. */
export function count(value: number): string {
  return COUNT.format(value);
}

/** Formats a large number in few characters: 1234567 → 1.2M. */
export function shortCount(value: number): string {
  for (const [size, unit] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e4, "k"],
  ] as const) {
    // From 10,000 on thousands are short; below that all digits are.
    const divisor = unit === "k" ? 1e3 : size;
    if (Math.abs(value) >= size) return `${trimmed(value / divisor)}${unit}`;
  }
  return COUNT.format(value);
}

/** Formats bytes in binary units, as the settings count them. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let amount = value;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? String(amount) : trimmed(amount)} ${units[unit]}`;
}

/** Formats a duration with two units at most: 0.84 s, 12.3 s, 4 min 5 s, 3 h 20 min, 2 d 4 h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  const span = Math.max(0, seconds);
  if (span < 0.0995) return `${Math.round(span * 1000)} ms`;
  if (span < 9.995) return `${span.toFixed(2)} s`;
  if (span < 59.95) return `${span.toFixed(1)} s`;
  const whole = Math.round(span);
  if (whole < 3600) return pair(whole, 60, "min", 1, "s");
  if (whole < 86_400) return pair(whole, 3600, "h", 60, "min");
  return pair(whole, 86_400, "d", 3600, "h");
}

/** Formats an age in one unit: 4 s, 12 min, 3 h, 2 d. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Formats the time that is left until `then`. */
export function until(then: number, now: number): string {
  return then <= now ? "over" : `in ${age(then - now)}`;
}

/** Formats a point in time in the reader's zone: 2026-11-29 17:44:12. */
export function dateTime(at: number): string {
  return `${date(at)} ${clock(at)}`;
}

/** Formats a day in the reader's zone. */
export function date(at: number): string {
  const day = new Date(at);
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}

/** Formats a time of day in the reader's zone: 17:44:12. */
export function clock(at: number): string {
  const time = new Date(at);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** Formats a rate per minute with as many digits as mean something. */
export function rate(perMinute: number): string {
  if (perMinute === 0) return "0";
  return perMinute < 10 ? trimmed(perMinute) : COUNT.format(Math.round(perMinute));
}

/**
 * Shortens an id to the part that tells it from others: a random UUID to its beginning, which `qwen-queue drain` takes
 * too, others to their end, since they begin with the time of their creation.
 */
export function shortId(id: string): string {
  if (id.length <= 16) return id;
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-4/.test(id)) return `${id.slice(0, 8)}…`;
  const prefix = /^[a-z]+_/.exec(id)?.[0] ?? "";
  return `${prefix}…${id.slice(-8)}`;
}

/** Returns "1 task" or "3 tasks". */
export function plural(amount: number, one: string, many = `${one}s`): string {
  return `${COUNT.format(amount)} ${amount === 1 ? one : many}`;
}

function pair(whole: number, big: number, bigUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((whole % big) / small);
  const head = `${Math.floor(whole / big)} ${bigUnit}`;
  return rest === 0 ? head : `${head} ${rest} ${smallUnit}`;
}

function trimmed(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toFixed(1)));
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
