/** Reads what an answer marks in its pictures: boxes, points and polygons in pixels. */

import type { Attachment } from "./types";

export type Point = [number, number];

export type Shape =
  | { kind: "box"; box: [number, number, number, number] }
  | { kind: "point"; point: Point }
  | { kind: "polygon"; corners: Point[] }
  | { kind: "arrow"; from: Point; to: Point };

/** One thing that the answer says, with its places in a picture. */
export interface Item {
  label: string;
  /** More about it: the second name, the arguments of an action. */
  detail: string;
  /** The index of the picture among those of the question. */
  picture: number;
  shapes: Shape[];
}

type Fields = Record<string, unknown>;

/** Reads the `structured` of a skill's answer, whose items have `pixels`. */
export function itemsOfSkill(structured: unknown): Item[] {
  return listOf(structured).map((fields, index) => ({
    label: labelOf(fields) ?? `${index + 1}`,
    detail: detailOf(fields),
    picture: pictureOf(fields),
    shapes: shapesOf(objectOf(fields.pixels)),
  }));
}

/**
 * Reads a chat's answer that is JSON in the way of Qwen: items with `bbox_2d` or `point_2d`, relative to pictures of
 * 1000 by 1000 as of Qwen3-VL. Returns no items for any other text.
 */
export function itemsOfText(text: string, pictures: Attachment[]): Item[] {
  if (pictures.length === 0 || !/"(bbox_2d|point_2d)"/.test(text)) return [];
  const items = listOf(jsonIn(text)).map((fields, index) => {
    const picture = pictureOf(fields);
    const { width = 0, height = 0 } = pictures[picture] ?? {};
    return {
      label: labelOf(fields) ?? `${index + 1}`,
      detail: "",
      picture,
      shapes: relativeShapes(fields, width / 1000, height / 1000),
    };
  });
  return items.filter((item) => item.shapes.length > 0);
}

function relativeShapes(fields: Fields, x: number, y: number): Shape[] {
  const shapes: Shape[] = [];
  const box = numbers(fields.bbox_2d);
  const point = numbers(fields.point_2d);
  if (x === 0 || y === 0) return shapes;
  if (box?.length === 4) {
    const [left, top, right, bottom] = box as [number, number, number, number];
    shapes.push({ kind: "box", box: ordered([left * x, top * y, right * x, bottom * y]) });
  }
  if (point?.length === 2) shapes.push({ kind: "point", point: [(point[0] ?? 0) * x, (point[1] ?? 0) * y] });
  return shapes;
}

function ordered([left, top, right, bottom]: [number, number, number, number]): [number, number, number, number] {
  return [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
}

/** The keys of `pixels`: of objects, and of the actions of agents. */
function shapesOf(pixels: Fields): Shape[] {
  const shapes: Shape[] = [];
  for (const box of several(pixels.box, pixels.boxes)) {
    if (box.length === 4) shapes.push({ kind: "box", box: ordered(box as [number, number, number, number]) });
  }
  const points = [...several(pixels.point, pixels.points), ...several(pixels.coordinate, undefined)];
  const end = numbers(pixels.coordinate2);
  for (const point of points) {
    if (point.length !== 2) continue;
    if (end?.length === 2) shapes.push({ kind: "arrow", from: point as Point, to: end as Point });
    else shapes.push({ kind: "point", point: point as Point });
  }
  for (const polygon of polygons(pixels)) {
    if (polygon.length > 2) shapes.push({ kind: "polygon", corners: polygon });
  }
  return shapes;
}

function several(one: unknown, many: unknown): number[][] {
  const all = [one, ...(Array.isArray(many) ? many : [])];
  return all.map(numbers).filter((found) => found !== null);
}

function polygons(pixels: Fields): Point[][] {
  const all = [pixels.polygon, ...(Array.isArray(pixels.polygons) ? pixels.polygons : [])];
  return all
    .filter(Array.isArray)
    .map((corners: unknown[]) => corners.map(numbers).filter((pair) => pair?.length === 2) as Point[]);
}

function numbers(value: unknown): number[] | null {
  const isList = Array.isArray(value) && value.length > 0 && value.every((item) => Number.isFinite(item));
  return isList ? (value as number[]) : null;
}

const LABELS = ["label", "text_content", "name", "text", "category", "description", "tag"];

function labelOf(fields: Fields): string | null {
  const args = objectOf(fields.arguments);
  if (typeof args.action === "string") return args.action;
  for (const key of LABELS) {
    const value = fields[key];
    if (typeof value === "string" && value.trim()) return value.trim().slice(0, 200);
  }
  return null;
}

function detailOf(fields: Fields): string {
  if (fields.arguments !== undefined) {
    const { action: _, ...rest } = objectOf(fields.arguments);
    const named = Object.entries(rest).map(
      ([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
    );
    return named.join(" · ").slice(0, 300);
  }
  if (typeof fields.start_s === "number" && typeof fields.end_s === "number") {
    return `${fields.start_s.toFixed(1)} to ${fields.end_s.toFixed(1)} s`;
  }
  const second = [fields.name, fields.tag].find((value) => typeof value === "string" && value !== labelOf(fields));
  return typeof second === "string" ? second : "";
}

const INDEX_KEYS = ["image", "img_idx", "image_index", "image_idx", "image_id"];

function pictureOf(fields: Fields): number {
  const index = INDEX_KEYS.map((key) => fields[key]).find((value) => Number.isInteger(value));
  return typeof index === "number" && index >= 0 ? index : 0;
}

function listOf(value: unknown): Fields[] {
  const list = Array.isArray(value) ? value : objectOf(value).elements;
  return Array.isArray(list) ? list.map(objectOf) : [];
}

function objectOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** Finds JSON in a text: in a fenced block, or from the first bracket to the last. */
function jsonIn(text: string): unknown {
  const fenced = /```(?:json)?\s*\n([\s\S]*?)```/.exec(text)?.[1];
  const from = text.search(/[[{]/);
  const to = Math.max(text.lastIndexOf("]"), text.lastIndexOf("}"));
  for (const candidate of [fenced, text.slice(from, to + 1)]) {
    try {
      const value: unknown = JSON.parse(candidate ?? "");
      return Array.isArray(value) ? value : [value];
    } catch {
      // The next candidate may be JSON.
    }
  }
  return null;
}
