import assert from "node:assert/strict";
import { test } from "node:test";
import { csv } from "./csv";
import { age, bytes, duration, rate, shortCount, shortId, until } from "./format";
import { filterRows, nextSort, sortRows } from "./rows";

test("rows are sorted as numbers or texts, and those without a value come last", () => {
  const rows = [{ n: 10 }, { n: null }, { n: 9 }, { n: 100 }];
  const sorted = (descending: boolean) => sortRows(rows, ({ n }) => n, descending).map(({ n }) => n);
  assert.deepEqual(sorted(false), [9, 10, 100, null]);
  assert.deepEqual(sorted(true), [100, 10, 9, null]);
  assert.deepEqual(
    sortRows(["gpu-10", "gpu-9", "GPU-1"], (of) => of, false),
    ["GPU-1", "gpu-9", "gpu-10"],
  );
});

test("equal rows keep their order in both directions", () => {
  const rows = ["b1", "a1", "b2"];
  assert.deepEqual(
    sortRows(rows, (of) => of[0], true),
    ["b1", "b2", "a1"],
  );
});

test("numbers are sorted from the largest first, texts from A", () => {
  assert.deepEqual(nextSort(null, "n", true), { column: "n", descending: true });
  assert.deepEqual(nextSort({ column: "n", descending: true }, "n", true), { column: "n", descending: false });
  assert.deepEqual(nextSort({ column: "n", descending: true }, "name", false), { column: "name", descending: false });
});

test("a filter wants every word, in any field and case", () => {
  const rows = [
    ["Nightly", "acme"],
    ["ci", "acme"],
  ];
  assert.deepEqual(
    filterRows(rows, (of) => of, " ACME night "),
    [rows[0]],
  );
  assert.equal(filterRows(rows, (of) => of, "").length, 2);
});

test("CSV quotes what needs it, and a name is no formula", () => {
  const text = csv(
    ["a", "b"],
    [
      ['x"y,z', -1.5],
      ["=1+1", 2],
      ["two\nlines", 3],
    ],
  );
  assert.equal(text, 'a,b\r\n"x""y,z",-1.5\r\n\'=1+1,2\r\n"two\nlines",3\r\n');
});

test("numbers and times are short and plain", () => {
  assert.deepEqual([0.004, 0.84, 12.34, 59.97, 245, 3600, 12_000, 190_000].map(duration), [
    "4 ms",
    "0.84 s",
    "12.3 s",
    "1 min",
    "4 min 5 s",
    "1 h",
    "3 h 20 min",
    "2 d 4 h",
  ]);
  assert.equal(duration(Number.NaN), "–");
  assert.deepEqual([0, 59_999, 60_000, 7_200_000, 200_000_000].map(age), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
  assert.deepEqual([until(5, 5), until(65_000, 5000)], ["over", "in 1 min"]);
  assert.deepEqual([512, 1536, 150 * 2 ** 30].map(bytes), ["512 B", "1.5 KiB", "150 GiB"]);
  assert.deepEqual([999, 9999, 12_345, 2_000_000, 123_456_789].map(shortCount), [
    "999",
    "9,999",
    "12.3k",
    "2M",
    "123M",
  ]);
  assert.deepEqual([0, 0.25, 9.96, 1234.5].map(rate), ["0", "0.3", "10", "1,235"]);
});

test("an id is shortened to the part that tells it from others", () => {
  assert.equal(shortId("5b32de93-0eda-4ed5-948f-619e00a7c75d"), "5b32de93…");
  assert.equal(shortId("0192f0c1-2345-7abc-8def-0123456789ab"), "…456789ab");
  assert.equal(shortId("key_01a2286845e77370aad3be71dafcafb2"), "key_…dafcafb2");
  assert.equal(shortId("t-4f1c"), "t-4f1c");
});
