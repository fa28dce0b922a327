import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "./sse-parser";

const STREAM =
  'id: 1\nevent: queued\ndata: {"at":1}\n\n: keep-alive\n\nid: 2\r\nevent: token\r\ndata: a\r\ndata:b\r\n\r\ndata: c\r\rdata\n\n';
const EVENTS = [
  { id: "1", event: "queued", data: '{"at":1}' },
  { id: "2", event: "token", data: "a\nb" },
  { id: "2", event: "message", data: "c" },
  { id: "2", event: "message", data: "" },
];

test("parses events wherever the pieces are cut", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const parser = new EventParser();
    const found = [];
    for (let from = 0; from < STREAM.length; from += size) found.push(...parser.push(STREAM.slice(from, from + size)));
    assert.deepEqual(found, EVENTS, `pieces of ${size}`);
  }
});

test("returns no event before its empty line", () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push("id: 7\ndata: x\n"), []);
  assert.deepEqual(parser.push("\n"), [{ id: "7", event: "message", data: "x" }]);
});
