/** The plots of the overview: depth, throughput and processing time. */

import { computed, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { Segmented } from "../ui/field";
import { count, duration, rate } from "./format";
import { historyOf } from "./live";
import { Plot, type Series } from "./plot";
import type { History, Overview } from "./replies";
import { depth, modelsOf, RANGES, serviceTimes, thinned, throughput } from "./series";

/** As many lines as can be told apart by color. */
const MOST_LINES = 6;

const DEPTH: Series[] = [
  { label: "Queued", color: "--m-series-2", isFilled: true },
  { label: "Processing", color: "--m-series-1" },
  { label: "Capacity", color: "--m-series-dim", isDashed: true },
];
const ENDED: Series[] = [
  { label: "Completed", color: "--m-series-1" },
  { label: "Failed", color: "--m-series-bad" },
  { label: "Cancelled", color: "--m-series-dim" },
];

const minutes = signal(15);
const model = signal<string | null>(null);
/** One poll for each range, made when it is first chosen. */
const polls = new Map<number, ReturnType<typeof historyOf>>();

function poll(range: number): ReturnType<typeof historyOf> {
  const known = polls.get(range) ?? historyOf(range);
  polls.set(range, known);
  return known;
}

const UNREAD: History = { interval_seconds: 10, points: [] };

/** The gateway's history of the chosen range; empty until it was read. */
export const shownHistory = computed(() => poll(minutes.value).data.value ?? UNREAD);

export function Plots(props: { overview: Overview }): JSX.Element {
  const { bar, step } = RANGES.find((of) => of.minutes === minutes.value) ?? RANGES[0];
  // Starts again with another range. What was loaded for the others is kept.
  useEffect(() => poll(minutes.value).start(), [minutes.value]);

  const to = props.overview.at / 1000;
  const from = to - minutes.value * 60;
  const all = shownHistory.value;
  const history = { ...all, points: all.points.filter((point) => point.at >= from * 1000) };
  const models = modelsOf(history.points);
  const known = props.overview.queues.map((queue) => queue.model);
  const chosen = model.value !== null && known.includes(model.value) ? model.value : null;
  const lines = chosen === null ? models.slice(0, MOST_LINES) : [chosen];
  const empty = "Recording: the first values come within 20 s.";
  const common = { from, to, empty };
  return (
    <section class="m-section" aria-label="History">
      <div class="m-section-head">
        <h2>History</h2>
        <span class="m-spring" />
        {known.length > 1 && (
          <select
            class="input select m-compact"
            aria-label="Model of the plots"
            value={chosen ?? ""}
            onChange={(event) => {
              model.value = event.currentTarget.value || null;
            }}
          >
            <option value="">all models</option>
            {known.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
        <Segmented
          label="Span of the plots"
          hideLabel
          value={String(minutes.value)}
          options={RANGES.map((of) => ({ value: String(of.minutes), label: of.label }))}
          onInput={(value) => {
            minutes.value = Number(value);
          }}
        />
      </div>
      <div class="m-plots">
        <Plot
          {...common}
          title="Queued and processing"
          unit="tasks"
          columns={thinned(depth(history, chosen), step)}
          series={DEPTH}
          format={(value) => count(Math.round(value))}
          isWhole
        />
        <Plot
          {...common}
          title="Throughput"
          unit="ended per minute"
          columns={throughput(history, chosen, bar)}
          series={ENDED}
          format={rate}
          isStacked
        />
        <Plot
          {...common}
          title="Processing time"
          unit="moving average"
          columns={thinned(serviceTimes(history, lines), step)}
          series={lines.map((label, index) => ({ label, color: `--m-series-${(index % MOST_LINES) + 1}` }))}
          format={duration}
        />
      </div>
    </section>
  );
}
