/** A plot over time with a legend that shows the values under the pointer, or the latest ones. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { shownTheme } from "../state/theme";
import { clock } from "./format";
import { type Columns, stacked } from "./series";

export interface Series {
  label: string;
  /** The name of a CSS variable, such as `--m-blue`. */
  color: string;
  isDashed?: boolean;
  isFilled?: boolean;
}

interface Props {
  title: string;
  /** What the numbers are, after the title. */
  unit: string;
  columns: Columns;
  series: readonly Series[];
  /** Bars on top of each other instead of lines. */
  isStacked?: boolean;
  /** The first and the last time, in seconds. */
  from: number;
  to: number;
  format: (value: number) => string;
  /** Values are whole numbers. */
  isWhole?: boolean;
  empty: string;
}

const HEIGHT = 190;
/** The steps between the lines of the grid. */
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];

export function Plot(props: Props): JSX.Element {
  const { columns, series } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  const theme = shownTheme.value;
  const drawn = useMemo(() => (props.isStacked ? reversed(stacked(columns)) : columns), [columns, props.isStacked]);
  const latest = useRef({ drawn, props });
  latest.current = { drawn, props };
  // The plot is made anew if its parts change; data and range are only set.
  const shape = JSON.stringify([series, props.isStacked, props.isWhole, theme]);

  useEffect(() => {
    const box = host.current;
    if (!box) return;
    const range = () => [latest.current.props.from, latest.current.props.to] as [number, number];
    const made = new uPlot(
      options(box, latest.current.props, range, setPointed),
      latest.current.drawn as uPlot.AlignedData,
      box,
    );
    plot.current = made;
    const resize = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height: HEIGHT }));
    resize.observe(box);
    return () => {
      resize.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(drawn as uPlot.AlignedData), [drawn, props.from, props.to]);

  const isEmpty = columns.slice(1).every((column) => column.every((value) => value === null));
  const index = pointed ?? lastIndex(columns);
  const at = columns[0][index];
  const values = series.map((_, at) => columns[at + 1]?.[index] ?? null);
  const said = series.map((of, at) => `${of.label} ${text(values[at], props.format)}`).join(", ");
  return (
    <figure class="m-plot m-card">
      <figcaption>
        <span class="m-plot-title">
          {props.title} <span class="m-dim">{props.unit}</span>
        </span>
        <span class="m-dim m-plot-time">{pointed !== null && at !== undefined ? clock(at * 1000) : ""}</span>
      </figcaption>
      <ul class="m-legend">
        {series.map((of, at) => (
          <li key={of.label}>
            <Swatch series={of} />
            <span class="m-legend-label">{of.label}</span>
            <span class="m-legend-value">{text(values[at], props.format)}</span>
          </li>
        ))}
      </ul>
      <div class="m-plot-box">
        <div ref={host} role="img" aria-label={`${props.title}, ${props.unit}: ${isEmpty ? "no data" : said}`} />
        {isEmpty && <p class="m-plot-empty">{props.empty}</p>}
      </div>
    </figure>
  );
}

function Swatch(props: { series: Series }): JSX.Element {
  const { color, isDashed } = props.series;
  return (
    <svg
      class="m-swatch"
      width="10"
      height="10"
      viewBox="0 0 10 10"
      aria-hidden="true"
      style={{ color: `var(${color})` }}
    >
      {isDashed ? (
        <path d="M0 5h4M6 5h4" stroke="currentColor" stroke-width="2" />
      ) : (
        <rect width="10" height="10" rx="2.5" fill="currentColor" />
      )}
    </svg>
  );
}

function options(
  box: HTMLElement,
  props: Props,
  range: () => [number, number],
  onPoint: (index: number | null) => void,
): uPlot.Options {
  const color = (name: string) => resolved(box, name);
  const font = `11px ${getComputedStyle(box).fontFamily}`;
  const axis = {
    stroke: color("--m-axis"),
    font,
    ticks: { show: false },
    grid: { stroke: color("--m-grid"), width: 1 },
  };
  return {
    width: box.clientWidth,
    height: HEIGHT,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: {
      sync: { key: "monitor" },
      drag: { x: false, y: false },
      y: false,
      points: { size: 7, width: 1.5 },
    },
    scales: {
      x: { time: true, range },
      y: { range: (_, __, most) => [0, top(most, props.isWhole === true)] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 72, size: 26, values: (_, at) => at.map(tick) },
      {
        ...axis,
        size: 46,
        gap: 6,
        space: 36,
        values: (_, at) => at.map(props.format),
        incrs: props.isWhole ? WHOLE : [...STEPS, ...WHOLE],
      },
    ],
    series: [{}, ...drawnSeries(props, color)],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? null)] },
  };
}

/** Returns the color that a CSS variable stands for in the theme that is shown, as `rgb(…)`, which a canvas needs. */
function resolved(box: HTMLElement, name: string): string {
  const probe = box.appendChild(document.createElement("span"));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function drawnSeries(props: Props, color: (name: string) => string): uPlot.Series[] {
  const bars = uPlot.paths.bars?.({ size: [0.72, 24], radius: 0 });
  const drawn = props.series.map((of): uPlot.Series => {
    const stroke = color(of.color);
    if (props.isStacked && bars) {
      return { label: of.label, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } };
    }
    return {
      label: of.label,
      stroke,
      width: 1.5,
      points: { show: false },
      ...(of.isDashed && { dash: [4, 4] }),
      ...(of.isFilled && { fill: stroke.replace("rgb(", "rgba(").replace(")", ", 0.14)") }),
    };
  });
  return props.isStacked ? drawn.reverse() : drawn;
}

/** Puts the highest sums first: bars are drawn over those before them. */
function reversed([times, ...series]: Columns): Columns {
  return [times, ...series.reverse()];
}

function top(most: number | null, isWhole: boolean): number {
  if (most === null || most <= 0) return 1;
  const padded = most * 1.1;
  return isWhole ? Math.max(1, Math.ceil(padded)) : padded;
}

function tick(at: number): string {
  return clock(at * 1000).slice(0, 5);
}

function text(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}

/** Returns the index of the latest time at which any series has a value. */
function lastIndex([times, ...series]: Columns): number {
  for (let index = times.length - 1; index >= 0; index -= 1) {
    if (series.some((column) => (column[index] ?? null) !== null)) return index;
  }
  return -1;
}
