/** What owners, keys and models used, by day. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Button } from "../ui/button";
import { saveFile } from "../ui/copy";
import { Checkbox } from "../ui/field";
import { Empty, Notice } from "../ui/notice";
import { getUsage } from "./api";
import { csv } from "./csv";
import { type Column, DataTable } from "./data-table";
import { count, duration, plural } from "./format";
import { Loading, messageOf } from "./parts";
import { AMOUNTS, type Amount, GROUPS, type Group, type Usage, type UsageRow } from "./replies";

const NAMES: Record<Amount, string> = {
  requests: "Requests",
  errors: "Errors",
  cancelled: "Cancelled",
  prompt_tokens: "Prompt",
  cached_tokens: "Cached",
  completion_tokens: "Generated",
  images: "Images",
  wait_s: "Waited",
  compute_s: "Computed",
};
const GROUP_NAMES: Record<Group, string> = { day: "Day", owner: "Owner", key: "Key", model: "Model" };
const DAY = 86_400_000;

/** Returns a day in UTC, as usage is counted. */
function utcDay(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

export function UsagePage(): JSX.Element {
  const [from, setFrom] = useState(() => utcDay(Date.now() - 29 * DAY));
  const [to, setTo] = useState(() => utcDay(Date.now()));
  const [groups, setGroups] = useState<readonly Group[]>(["day", "owner"]);
  const [usage, setUsage] = useState<Usage | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [round, setRound] = useState(0);

  useEffect(() => {
    if (from === "" || to === "" || groups.length === 0) return;
    const abort = new AbortController();
    getUsage({ from, to, groups, owner: "" }, abort.signal).then(
      (answer) => {
        setUsage(answer);
        setError(null);
      },
      (reason) => {
        if (!abort.signal.aborted) setError(reason);
      },
    );
    return () => abort.abort();
  }, [from, to, groups, round]);

  const table = useMemo(() => columns(usage?.group_by ?? []), [usage]);
  const toggle = (group: Group, isOn: boolean) =>
    setGroups(GROUPS.filter((of) => (of === group ? isOn : groups.includes(of))));
  return (
    <section class="m-section" aria-label="Usage">
      <div class="m-section-head">
        <h2>Usage</h2>
        <span class="m-dim">each task counts on the day (UTC) on which it ended</span>
      </div>
      <div class="m-filters">
        <Day label="From" value={from} onInput={setFrom} />
        <Day label="To" value={to} onInput={setTo} />
        <fieldset class="field m-group-by">
          <legend class="field-label">Sum by</legend>
          <div>
            {GROUPS.map((group) => (
              <Checkbox
                key={group}
                label={GROUP_NAMES[group].toLowerCase()}
                checked={groups.includes(group)}
                onInput={(isOn) => toggle(group, isOn)}
              />
            ))}
          </div>
        </fieldset>
        <span class="m-spring" />
        <Button size="small" icon="refresh" onClick={() => setRound(round + 1)}>
          Read again
        </Button>
        <Button size="small" icon="download" disabled={!usage?.rows.length} onClick={() => usage && download(usage)}>
          CSV
        </Button>
      </div>
      {groups.length === 0 && (
        <Notice kind="info" title="Nothing to sum by">
          Choose at least one of day, owner, key and model.
        </Notice>
      )}
      {error !== null && (
        <Notice kind="error" title="The usage can’t be read">
          {messageOf(error)}
        </Notice>
      )}
      {usage === null && error === null && <Loading what="the usage" />}
      {usage !== null && (
        <DataTable
          key={usage.group_by.join()}
          label="Usage"
          columns={table}
          rows={usage.rows}
          id={(row) => usage.group_by.map((group) => row[group]).join("\n")}
          sort={usage.group_by.includes("day") ? { column: "day", descending: true } : undefined}
          filter={usage.rows.length > 0 ? "Filter rows" : undefined}
          totals={totals(usage)}
          empty={
            <Empty title="No task ended in these days">
              Each owner would have a row for each day, with its requests, tokens and times.
            </Empty>
          }
        />
      )}
    </section>
  );
}

function Day(props: { label: string; value: string; onInput: (value: string) => void }): JSX.Element {
  return (
    <label class="field">
      <span class="field-label">{props.label}</span>
      <input
        class="input"
        type="date"
        value={props.value}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
    </label>
  );
}

function columns(groups: readonly Group[]): Column<UsageRow>[] {
  return [
    ...groups.map(
      (group, index): Column<UsageRow> => ({
        id: group,
        label: GROUP_NAMES[group],
        value: (row) => row[group],
        isTitle: index === 0,
      }),
    ),
    ...AMOUNTS.map(
      (amount): Column<UsageRow> => ({
        id: amount,
        label: NAMES[amount],
        value: (row) => row[amount],
        cell: (row) => <AmountCell amount={amount} value={row[amount]} />,
        isNumber: true,
      }),
    ),
  ];
}

function AmountCell({ amount, value }: { amount: Amount; value: number }): JSX.Element {
  const tone = value === 0 ? "m-zero" : amount === "errors" ? "m-bad" : undefined;
  return <span class={tone}>{amount.endsWith("_s") ? duration(value) : count(value)}</span>;
}

function totals({ total, rows, group_by }: Usage): Record<string, JSX.Element> {
  const cells = AMOUNTS.map((amount) => [amount, <AmountCell key={amount} amount={amount} value={total[amount]} />]);
  const first = group_by[0];
  return {
    ...Object.fromEntries(cells),
    ...(first && { [first]: <strong>Total of {plural(rows.length, "row")}</strong> }),
  };
}

/** Saves all rows with the names of the API, as `qwen-queue usage --csv` does. */
function download({ from, to, group_by, rows }: Usage): void {
  const names = [...group_by, ...AMOUNTS];
  const text = csv(
    names,
    rows.map((row) => names.map((name) => row[name] ?? "")),
  );
  saveFile(`usage-${from}-${to}.csv`, new Blob([text], { type: "text/csv" }));
}
