import assert from "node:assert/strict";
import { test } from "node:test";
import type { History, ModelPoint } from "./replies";
import { depth, latestRate, modelsOf, serviceTimes, stacked, thinned, throughput } from "./series";

function model(name: string, counts: Partial<ModelPoint> = {}): ModelPoint {
  const none = { queued: 0, delayed: 0, processing: 0, capacity: 0, completed: 0, failed: 0, cancelled: 0 };
  return { model: name, ...none, service_seconds: null, ...counts };
}

/** A history with a point at each of these seconds. */
function history(seconds: number[], models: (second: number) => ModelPoint[]): History {
  const points = seconds.map((second) => ({ at: second * 1000, models: models(second), workers: 1 }));
  return { interval_seconds: 10, points };
}

test("the depth is of one model or of all, and a missing interval is a gap", () => {
  const of = history([10, 20, 60], () => [model("a", { queued: 2, capacity: 4 }), model("b", { queued: 3 })]);
  assert.deepEqual(depth(of, "a"), [
    [10, 20, 25, 60],
    [2, 2, null, 2],
    [0, 0, null, 0],
    [4, 4, null, 4],
  ]);
  assert.deepEqual(depth(of, null)[1], [5, 5, null, 5]);
  assert.deepEqual(depth(of, "c")[1], [0, 0, null, 0]);
});

test("a point that is a little late is no gap", () => {
  assert.deepEqual(
    depth(
      history([10, 32], () => [model("a")]),
      null,
    )[0],
    [10, 32],
  );
});

test("processing times have a line for each model", () => {
  const of = history([10, 20], (second) => (second === 10 ? [model("a", { service_seconds: 1.5 })] : [model("b")]));
  assert.deepEqual(serviceTimes(of, ["a", "b"]), [
    [10, 20],
    [1.5, null],
    [null, null],
  ]);
});

test("throughput is per minute of recorded time", () => {
  const ended = { completed: 3, failed: 1, cancelled: 0 };
  const of = history([10, 20, 30, 130], () => [model("a", ended), model("b", ended)]);
  const [times, completed, failed, cancelled] = throughput(of, null, 60);
  assert.deepEqual(times, [30, 90, 150]);
  assert.deepEqual(completed, [36, null, 36], "a bar with one interval has the same rate as one with three");
  assert.deepEqual(
    [failed, cancelled],
    [
      [12, null, 12],
      [0, null, 0],
    ],
  );
  assert.deepEqual(throughput(of, "a", 60)[1], [18, null, 18]);
  assert.deepEqual(throughput({ interval_seconds: 60, points: [] }, null, 10), [[], [], [], []]);
});

test("stacked series have what is below them, and nothing where they add nothing", () => {
  assert.deepEqual(
    stacked([
      [1, 2, 3],
      [5, null, 1],
      [2, null, 0],
      [1, null, 4],
    ]),
    [
      [1, 2, 3],
      [5, null, 1],
      [7, null, null],
      [8, null, 5],
    ],
  );
});

test("thinned lines keep their gaps", () => {
  const columns = thinned(
    [
      [0, 10, 20, 25, 30, 40],
      [1, 3, 5, null, 7, 9],
    ],
    60,
  );
  assert.deepEqual(columns, [
    [10, 25, 35],
    [3, null, 8],
  ]);
});

test("the latest rate counts the intervals that are there", () => {
  const of = history([10, 20, 30], () => [model("a", { completed: 1, cancelled: 1 })]);
  assert.equal(latestRate(of, 30_000, 60), 12);
  assert.equal(latestRate(of, 300_000, 60), null);
});

test("models are sorted by their ended tasks", () => {
  const of = history([10, 20], () => [model("a"), model("b", { failed: 1 }), model("c")]);
  assert.deepEqual(modelsOf(of.points), ["b", "a", "c"]);
});
