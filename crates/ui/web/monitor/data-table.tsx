/** A table that sorts, filters and is used by keyboard. On narrow screens its rows are cards. */

import type { ComponentChildren, JSX, TargetedKeyboardEvent, TargetedMouseEvent } from "preact";
import { useId, useRef, useState } from "preact/hooks";
import { filterRows, nextSort, type Sort, sortRows, type Value } from "./rows";

export interface Column<T> {
  id: string;
  label: string;
  /** What rows are sorted and filtered by. */
  value: (row: T) => Value;
  /** What is shown, if that is not the value's text. */
  cell?: (row: T) => ComponentChildren;
  isNumber?: boolean;
  /** Buttons and the like: no sort, no label. */
  isAction?: boolean;
  /** Leads the card on narrow screens. */
  isTitle?: boolean;
}

interface Props<T> {
  /** Names the table for screen readers. */
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  id: (row: T) => string;
  /** Shown if there are no rows at all. */
  empty: ComponentChildren;
  sort?: Sort;
  /** The placeholder of the field that filters; without it there is none. */
  filter?: string;
  /** Further controls beside the filter. */
  tools?: ComponentChildren;
  /** Opens a row, by click or Enter. */
  onOpen?: (row: T) => void;
  /** The row that is open. */
  openId?: string | null;
  /** The cells of a row of totals, by column. */
  totals?: Record<string, ComponentChildren>;
}

export function DataTable<T>(props: Props<T>): JSX.Element {
  const { columns, rows, id, onOpen } = props;
  const [sort, setSort] = useState<Sort | null>(props.sort ?? null);
  const [query, setQuery] = useState("");
  const [current, setCurrent] = useState<string | null>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const sortId = useId();

  const found = filterRows(rows, (row) => columns.map((column) => column.value(row)), query);
  const sorter = columns.find((column) => column.id === sort?.column);
  const shown = sorter && sort ? sortRows(found, sorter.value, sort.descending) : found;
  const focusable = shown.some((row) => id(row) === current) ? current : shown[0] && id(shown[0]);
  const sortable = columns.filter((column) => !column.isAction);

  const moveFocus = (event: KeyboardEvent, index: number) => {
    const target = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (target === undefined) return;
    const row = body.current?.rows[Math.min(Math.max(target, 0), shown.length - 1)];
    event.preventDefault();
    row?.focus();
  };
  const onRowKey = (event: TargetedKeyboardEvent<HTMLTableRowElement>, row: T, index: number) => {
    // Keys of buttons and links within the row are theirs.
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter") onOpen?.(row);
    else moveFocus(event, index);
  };
  const onRowClick = (event: TargetedMouseEvent<HTMLTableRowElement>, row: T) => {
    const isControl = (event.target as Element).closest("button, a, input, summary") !== null;
    const isSelecting = (getSelection()?.toString() ?? "") !== "";
    if (!isControl && !isSelecting) onOpen?.(row);
  };

  return (
    <div class="m-table">
      {(props.filter !== undefined || props.tools !== undefined) && (
        <div class="m-table-tools">
          {props.filter !== undefined && (
            <input
              type="search"
              class="input m-search"
              placeholder={props.filter}
              aria-label={props.filter}
              value={query}
              onInput={(event) => setQuery(event.currentTarget.value)}
            />
          )}
          <label class="m-sort-by" for={sortId}>
            <span class="m-dim">Sort by</span>
            <select
              id={sortId}
              class="input select"
              value={sort ? `${sort.column}:${sort.descending ? "down" : "up"}` : ""}
              onChange={(event) => {
                const [column, direction] = event.currentTarget.value.split(":");
                setSort(column ? { column, descending: direction === "down" } : null);
              }}
            >
              <option value="">as listed</option>
              {sortable.flatMap((column) => [
                <option key={`${column.id}:up`} value={`${column.id}:up`}>{`${column.label}, ascending`}</option>,
                <option key={`${column.id}:down`} value={`${column.id}:down`}>{`${column.label}, descending`}</option>,
              ])}
            </select>
          </label>
          {props.tools}
        </div>
      )}
      {rows.length === 0 ? (
        <div class="m-empty">{props.empty}</div>
      ) : (
        <div class="m-table-scroll">
          <table aria-label={props.label}>
            <thead>
              <tr>
                {columns.map((column) => (
                  <Head
                    key={column.id}
                    column={column}
                    sort={sort}
                    onSort={() => setSort(nextSort(sort, column.id, column.isNumber === true))}
                  />
                ))}
              </tr>
            </thead>
            <tbody ref={body}>
              {shown.map((row, index) => (
                <tr
                  key={id(row)}
                  tabIndex={onOpen ? (id(row) === focusable ? 0 : -1) : undefined}
                  class={onOpen ? "m-row-open" : undefined}
                  aria-current={props.openId === id(row) ? "true" : undefined}
                  onFocus={() => setCurrent(id(row))}
                  onKeyDown={onOpen && ((event) => onRowKey(event, row, index))}
                  onClick={onOpen && ((event) => onRowClick(event, row))}
                >
                  {columns.map((column) => (
                    <td key={column.id} class={cellClass(column)} data-label={column.label}>
                      {column.cell ? column.cell(row) : String(column.value(row) ?? "–")}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
            {props.totals !== undefined && (
              <tfoot>
                <tr>
                  {columns.map((column) => (
                    <td key={column.id} class={cellClass(column)} data-label={column.label}>
                      {props.totals?.[column.id]}
                    </td>
                  ))}
                </tr>
              </tfoot>
            )}
          </table>
          {shown.length === 0 && <div class="m-empty">No row has “{query}”.</div>}
        </div>
      )}
    </div>
  );
}

function Head<T>(props: { column: Column<T>; sort: Sort | null; onSort: () => void }): JSX.Element {
  const { column, sort } = props;
  if (column.isAction) {
    return (
      <th scope="col" class={cellClass(column)}>
        <span class="visually-hidden">{column.label}</span>
      </th>
    );
  }
  const isSorted = sort?.column === column.id;
  const direction = sort?.descending ? "descending" : "ascending";
  return (
    <th scope="col" class={cellClass(column)} aria-sort={isSorted ? direction : "none"}>
      <button type="button" class="m-head" onClick={props.onSort}>
        {column.label}
        <span class="m-arrow" aria-hidden="true">
          {isSorted ? (sort?.descending ? "↓" : "↑") : ""}
        </span>
      </button>
    </th>
  );
}

function cellClass<T>(column: Column<T>): string | undefined {
  const names = [column.isNumber && "m-number", column.isAction && "m-actions", column.isTitle && "m-title-cell"];
  return names.filter(Boolean).join(" ") || undefined;
}
