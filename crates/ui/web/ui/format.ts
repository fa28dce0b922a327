/** Numbers, times and sizes as people read them. */

/** `0.42` → "420 ms", `5.83` → "5.8 s", `75` → "1 min 15 s". */
export function seconds(value: number): string {
  if (value < 0.001) return "0 ms";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let shown = value;
  while (shown >= 1024 && at < units.length - 1) {
    shown /= 1024;
    at++;
  }
  return `${at === 0 || shown >= 100 ? Math.round(shown) : shown.toFixed(1)} ${units[at]}`;
}

const integers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function integer(value: number): string {
  return integers.format(value);
}

/** "1 token", "1,200 tokens". */
export function count(value: number, one: string, many = `${one}s`): string {
  return `${integer(value)} ${value === 1 ? one : many}`;
}

const times = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The time of day if it is today, else the day. */
export function moment(at: number, now = Date.now()): string {
  return new Date(at).toDateString() === new Date(now).toDateString() ? times.format(at) : days.format(at);
}

export function dateTime(at: number): string {
  return whole.format(at);
}
