/** The managed keys: who may do what, and how much. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { goTo } from "../state/route";
import { Button } from "../ui/button";
import { Empty, Notice } from "../ui/notice";
import { getKeys } from "./api";
import { type Column, DataTable } from "./data-table";
import { age, dateTime, plural, until } from "./format";
import { KeyForm, KeyText } from "./key-form";
import { keyState, limitsOf } from "./key-state";
import { KeyView } from "./key-view";
import { now } from "./live";
import { Id, Loading, messageOf, StateBadge } from "./parts";
import { Poll } from "./poll";
import type { ApiKey, ApiKeyWithText } from "./replies";

/** Gateways note the use of a key every 10 s. */
const EVERY = 10_000;

export function KeysPage({ path }: { path: string[] }): JSX.Element {
  const poll = useMemo(() => new Poll(getKeys, EVERY), []);
  useEffect(() => poll.start(), [poll]);
  const [edited, setEdited] = useState<ApiKey | "new" | null>(null);
  const [shown, setShown] = useState<ApiKeyWithText | null>(null);
  const keys = poll.data.value;
  const error = poll.error.value;
  const opened = keys?.find((key) => key.id === path[0]);
  return (
    <section class="m-section" aria-label="Keys">
      <div class="m-section-head">
        <h2>{keys === null ? "Keys" : plural(keys.length, "managed key")}</h2>
        <span class="m-dim">keys of API_KEYS are not listed</span>
        <span class="m-spring" />
        <Button size="small" variant="primary" icon="plus" onClick={() => setEdited("new")}>
          New key
        </Button>
      </div>
      {error !== null && (
        <Notice kind="error" title="The keys can’t be read">
          {messageOf(error)}
        </Notice>
      )}
      {keys === null && error === null && <Loading what="the keys" />}
      {opened && (
        <KeyView
          key={opened.id}
          of={opened}
          onEdit={() => setEdited(opened)}
          onText={setShown}
          onChange={() => void poll.refresh()}
          onClose={() => goTo(["monitor", "keys"])}
        />
      )}
      {keys !== null && (
        <DataTable
          label="Keys"
          columns={COLUMNS}
          rows={keys}
          id={(key) => key.id}
          filter={keys.length > 0 ? "Filter by name, owner, id or scope" : undefined}
          openId={path[0]}
          onOpen={(key) => goTo(["monitor", "keys", key.id])}
          empty={
            <Empty title="No managed key">
              A managed key has an owner, rights and limits, and can be blocked, rotated and revoked while the system
              runs. Those that you create would be here.
            </Empty>
          }
        />
      )}
      {edited !== null && (
        <KeyForm
          known={edited === "new" ? null : edited}
          onClose={() => setEdited(null)}
          onDone={(created) => {
            setEdited(null);
            setShown(created);
            void poll.refresh();
          }}
        />
      )}
      {shown !== null && <KeyText created={shown} onClose={() => setShown(null)} />}
    </section>
  );
}

const COLUMNS: Column<ApiKey>[] = [
  {
    id: "name",
    label: "Name",
    value: (of) => `${of.name} ${of.prefix}`,
    cell: (of) => (
      <div class="m-stack">
        <strong>{of.name}</strong>
        <span class="m-dim m-mono">{of.prefix}…</span>
      </div>
    ),
    isTitle: true,
  },
  { id: "id", label: "Id", value: (of) => of.id, cell: (of) => <Id id={of.id} /> },
  {
    id: "owner",
    label: "Owner",
    value: (of) => of.owner,
    cell: (of) => (of.owner === of.id ? <span class="m-dim">itself</span> : of.owner),
  },
  {
    id: "state",
    label: "State",
    value: (of) => keyState(of, now.value).word,
    cell: (of) => <StateBadge state={keyState(of, now.value)} />,
  },
  { id: "scopes", label: "Scopes", value: (of) => of.scopes.join(", ") },
  {
    id: "models",
    label: "Models",
    value: (of) => of.models.join(", "),
    cell: (of) => (of.models.length === 0 ? <span class="m-dim">all</span> : of.models.join(", ")),
  },
  {
    id: "limits",
    label: "Limits",
    value: (of) => limitsOf(of).join(", "),
    cell: (of) => <Limits limits={limitsOf(of)} />,
  },
  {
    id: "used",
    label: "Last used",
    value: (of) => of.last_used_at,
    cell: (of) => <When at={of.last_used_at} text={(at) => `${age(now.value - at)} ago`} />,
    isNumber: true,
  },
  {
    id: "expires",
    label: "Expires",
    value: (of) => of.expires_at,
    cell: (of) => <When at={of.expires_at} text={(at) => until(at, now.value)} />,
    isNumber: true,
  },
];

function Limits({ limits }: { limits: string[] }): JSX.Element {
  if (limits.length === 0) return <span class="m-dim">none</span>;
  return (
    <ul class="m-plain">
      {limits.map((limit) => (
        <li key={limit}>{limit}</li>
      ))}
    </ul>
  );
}

function When({ at, text }: { at: number | null; text: (at: number) => string }): JSX.Element {
  if (at === null) return <span class="m-dim">never</span>;
  return <time title={dateTime(at)}>{text(at)}</time>;
}
