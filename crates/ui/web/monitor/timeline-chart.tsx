/** A task's life as rows of bars on one axis of time. */

import type { JSX } from "preact";
import { clock, duration } from "./format";
import { Id } from "./parts";
import type { Segment, SegmentKind, Timeline } from "./timeline";

const NAMES: Record<SegmentKind, string> = {
  waiting: "Waiting",
  prefill: "Until the first token",
  generating: "Generating",
  running: "Running",
  lost: "Failed",
};

export function TimelineChart({ life }: { life: Timeline }): JSX.Element {
  const first = life.segments[0];
  const last = life.segments.at(-1);
  if (!first || !last) return <p class="m-dim">Nothing has happened yet that takes time.</p>;
  const [from, span] = [first.from, Math.max(last.to - first.from, 1)];
  const row = (segment: Segment) => {
    const name = segment.attempt === null ? waitingName(segment, life) : NAMES[segment.kind];
    const left = ((segment.from - from) / span) * 100;
    const width = Math.max(((segment.to - segment.from) / span) * 100, 0.4);
    const seconds = (segment.to - segment.from) / 1000;
    return (
      <li key={`${segment.kind}${segment.from}`} class="m-life-row">
        <span class="m-life-name">
          {name}
          {segment.attempt !== null && <span class="m-dim"> attempt {segment.attempt}</span>}
        </span>
        <span class="m-life-track" aria-hidden="true">
          <span
            class={`m-life-bar m-life-${segment.kind}`}
            style={{ left: `${Math.min(left, 99.6)}%`, width: `${width}%` }}
          />
        </span>
        <span class="m-number">{duration(seconds)}</span>
      </li>
    );
  };
  return (
    <>
      <ol class="m-life">{life.segments.map(row)}</ol>
      <p class="m-life-axis m-dim">
        <span>{clock(from)}</span>
        <span>{endText(life, last.to, span)}</span>
      </p>
      <Attempts life={life} />
    </>
  );
}

function waitingName(segment: Segment, life: Timeline): string {
  return segment.from === life.queuedAt ? "Waiting in the queue" : "Waiting for another attempt";
}

function endText(life: Timeline, to: number, span: number): string {
  if (life.end === null) return `now, after ${duration(span / 1000)}`;
  if (life.endedAt === null) return `${life.end}; the time of the end is not known`;
  return `${life.end} at ${clock(to)}, after ${duration(span / 1000)}`;
}

function Attempts({ life }: { life: Timeline }): JSX.Element {
  return (
    <ul class="m-attempts">
      {life.attempts.map((attempt) => (
        <li key={attempt.number}>
          <span class="m-strong">Attempt {attempt.number}</span>
          <span class="m-dim">on worker</span> <Id id={attempt.worker} />
          {attempt.firstTokenAt !== null && (
            <span class="m-dim">first token after {duration((attempt.firstTokenAt - attempt.startedAt) / 1000)}</span>
          )}
          {attempt.error !== null && <span class="m-bad">{attempt.error}</span>}
        </li>
      ))}
    </ul>
  );
}
