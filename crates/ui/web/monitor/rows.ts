/** Sorts and filters the rows of a table. Pure. */

/** What a cell is sorted and filtered by. */
export type Value = string | number | boolean | null | undefined;

export interface Sort {
  column: string;
  descending: boolean;
}

/** Returns the rows in the order of `value`. Equal rows keep their order, and rows without a value come last. */
export function sortRows<T>(rows: readonly T[], value: (row: T) => Value, descending: boolean): T[] {
  const direction = descending ? -1 : 1;
  return rows
    .map((row, index) => ({ row, index, value: value(row) }))
    .sort((a, b) => {
      const [noA, noB] = [isMissing(a.value), isMissing(b.value)];
      if (noA || noB) return Number(noA) - Number(noB) || a.index - b.index;
      return direction * compare(a.value, b.value) || a.index - b.index;
    })
    .map(({ row }) => row);
}

/** Returns the rows that have every word of `query` in one of their texts, in any case. */
export function filterRows<T>(rows: readonly T[], texts: (row: T) => readonly Value[], query: string): T[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...rows];
  return rows.filter((row) => {
    const all = texts(row)
      .map((text) => String(text ?? "").toLowerCase())
      .join("\n");
    return words.every((word) => all.includes(word));
  });
}

/** Returns the next sort after a click on a column's head: numbers begin with the largest, texts with A. */
export function nextSort(sort: Sort | null, column: string, isNumber: boolean): Sort {
  if (sort?.column === column) return { column, descending: !sort.descending };
  return { column, descending: isNumber };
}

function isMissing(value: Value): boolean {
  return value === null || value === undefined || value === "";
}

function compare(a: Value, b: Value): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}
