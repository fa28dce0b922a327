/** Turns the history of the queue into the columns that a plot draws. Pure: no clock, no page. */

import type { History, HistoryPoint, ModelPoint } from "./replies";

/** The columns of a plot: times in seconds, then one column a series. `null` is a gap. */
export type Columns = [number[], ...(number | null)[][]];

/** A span that plots show. */
export interface Range {
  minutes: number;
  label: string;
  /** The width of a bar of the throughput, in seconds. */
  bar: number;
  /** The distance between the points of a line, in seconds. */
  step: number;
}

export const RANGES: readonly [Range, ...Range[]] = [
  { minutes: 15, label: "15 min", bar: 10, step: 10 },
  { minutes: 60, label: "1 h", bar: 60, step: 20 },
  { minutes: 360, label: "6 h", bar: 300, step: 120 },
];

/** Returns the models of the points: those with the most ended tasks first. */
export function modelsOf(points: readonly HistoryPoint[]): string[] {
  const ended = new Map<string, number>();
  for (const point of points) {
    for (const model of point.models) {
      const tasks = model.completed + model.failed + model.cancelled;
      ended.set(model.model, (ended.get(model.model) ?? 0) + tasks);
    }
  }
  return [...ended].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([model]) => model);
}

/** Returns times, queued, processing and capacity, of one model or of all together. */
export function depth(history: History, model: string | null): Columns {
  const points = withGaps(history);
  const column = (amount: (of: ModelPoint) => number) =>
    points.map((point) => (point.gap ? null : sum(chosen(point.models, model), amount)));
  return [times(points), column((of) => of.queued), column((of) => of.processing), column((of) => of.capacity)];
}

/** Returns times and the average processing times of each of `models`, in seconds. */
export function serviceTimes(history: History, models: readonly string[]): Columns {
  const points = withGaps(history);
  const seconds = (name: string) =>
    points.map((point) => (point.gap ? null : (chosen(point.models, name)[0]?.service_seconds ?? null)));
  return [times(points), ...models.map(seconds)];
}

const OUTCOMES = ["completed", "failed", "cancelled"] as const;

/**
 * Returns the middles of bars of `width` seconds, and the tasks that ended per minute in each: completed, failed and
 * cancelled. A bar's rate is over the intervals that were recorded; without any it is a gap.
 */
export function throughput(history: History, model: string | null, width: number): Columns {
  const step = Math.max(width, history.interval_seconds);
  const bars = new Map<number, HistoryPoint[]>();
  for (const point of history.points) {
    // A point's counts are of the interval before it.
    const index = Math.floor((point.at / 1000 - history.interval_seconds / 2) / step);
    bars.set(index, [...(bars.get(index) ?? []), point]);
  }
  const first = Math.min(...bars.keys());
  const length = bars.size === 0 ? 0 : Math.max(...bars.keys()) - first + 1;
  const indexes = Array.from({ length }, (_, index) => first + index);
  const rates = (outcome: (typeof OUTCOMES)[number]) =>
    indexes.map((index) => {
      const points = bars.get(index);
      if (points === undefined) return null;
      const ended = points.reduce((all, point) => all + sum(chosen(point.models, model), (of) => of[outcome]), 0);
      return (ended * 60) / (points.length * history.interval_seconds);
    });
  return [indexes.map((index) => (index + 0.5) * step), ...OUTCOMES.map(rates)];
}

/**
 * Averages columns over steps of `width` seconds, so that a line has no more points than can be seen. A time at which
 * all are `null` is a gap and stays one.
 */
export function thinned([at, ...series]: Columns, width: number): Columns {
  const groups: number[][] = [];
  let open: number | null = null;
  at.forEach((time, index) => {
    const isGap = series.every((column) => (column[index] ?? null) === null);
    const step = Math.floor(time / width);
    if (isGap || step !== open) groups.push([]);
    groups.at(-1)?.push(index);
    open = isGap ? null : step;
  });
  const averages = (column: readonly (number | null)[]) =>
    groups.map((group) => average(group.map((index) => column[index])));
  return [averages(at).map((time) => time ?? 0), ...series.map(averages)];
}

/**
 * Adds up columns for a stacked plot: each series has its own and those before it, so that the last has all. Where a
 * series adds nothing it is `null`: its bar would only shine through at the edges of those before it.
 */
export function stacked([at, ...series]: Columns): Columns {
  let below: number[] = at.map(() => 0);
  const sums = series.map((column) => {
    const before = below;
    below = column.map((value, index) => (value ?? 0) + (before[index] ?? 0));
    return column.map((value, index) => (value ? (below[index] ?? null) : null));
  });
  return [at, ...sums];
}

/** Returns the tasks that ended per minute in the latest `seconds` of the points; `null` if none is so young. */
export function latestRate(history: History, now: number, seconds: number): number | null {
  const recent = history.points.filter((point) => point.at > now - seconds * 1000);
  if (recent.length === 0) return null;
  const ended = recent.reduce(
    (all, point) => all + sum(point.models, (of) => of.completed + of.failed + of.cancelled),
    0,
  );
  return (ended * 60) / (recent.length * history.interval_seconds);
}

type Point = (HistoryPoint & { gap?: false }) | { at: number; gap: true };

/** Puts a mark into each hole of the history, where plots break their lines. */
function withGaps(history: History): Point[] {
  const points: Point[] = [];
  let before: number | undefined;
  for (const point of history.points) {
    // Intervals vary a little, and a single late point is no gap.
    if (before !== undefined && point.at - before > history.interval_seconds * 2500) {
      points.push({ at: before + history.interval_seconds * 500, gap: true });
    }
    points.push(point);
    before = point.at;
  }
  return points;
}

function average(values: readonly (number | null | undefined)[]): number | null {
  const known = values.filter((value) => typeof value === "number");
  return known.length === 0 ? null : known.reduce((all, value) => all + value, 0) / known.length;
}

function times(points: readonly Point[]): number[] {
  return points.map((point) => point.at / 1000);
}

function chosen(models: readonly ModelPoint[], model: string | null): readonly ModelPoint[] {
  return model === null ? models : models.filter((of) => of.model === model);
}

function sum(models: readonly ModelPoint[], amount: (of: ModelPoint) => number): number {
  return models.reduce((all, of) => all + amount(of), 0);
}
