/** The operators' room: queues, tasks, workers, dead letters, periodic tasks, keys and usage. */

import "uplot/dist/uPlot.min.css";
import "./css/monitor.css";
import type { FunctionComponent, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, ConnectionError } from "../api/errors";
import { keys, type Role, refused } from "../state/keys";
import { hrefOf } from "../state/route";
import { Button } from "../ui/button";
import { KeyDialog } from "../ui/key-gate";
import { Notice } from "../ui/notice";
import { DeadLettersPage } from "./dead-letters";
import { clock, count } from "./format";
import { KeysPage } from "./keys";
import { overview, staleFor, watch } from "./live";
import { OverviewPage } from "./overview";
import { messageOf, Questions } from "./parts";
import { SchedulePage } from "./schedule";
import { TasksPage } from "./tasks";
import { UsagePage } from "./usage";
import { WorkersPage } from "./workers";

interface Page {
  place: string;
  label: string;
  /** `path` is what follows the page's name in the address. */
  Content: FunctionComponent<{ path: string[] }>;
}

const OVERVIEW: Page = { place: "overview", label: "Overview", Content: OverviewPage };
const PAGES: readonly Page[] = [
  OVERVIEW,
  { place: "tasks", label: "Tasks", Content: TasksPage },
  { place: "workers", label: "Workers", Content: WorkersPage },
  { place: "dead-letters", label: "Dead letters", Content: DeadLettersPage },
  { place: "schedule", label: "Schedule", Content: SchedulePage },
  { place: "keys", label: "Keys", Content: KeysPage },
  { place: "usage", label: "Usage", Content: UsagePage },
];

const OPERATORS: Role = "admin";

/** `path` is what follows `monitor` in the address. */
export function Monitor({ path }: { path: string[] }): JSX.Element {
  const [place, ...rest] = path;
  const page = PAGES.find((of) => of.place === place) ?? OVERVIEW;
  const key = keys.admin.value;
  const isRefused = refused.admin.value;
  useEffect(() => (isRefused ? undefined : watch(key)), [key, isRefused]);
  useEffect(() => {
    document.title = `${page.label} · Monitor · qwen-queue`;
  }, [page]);
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    const current = tabs.current?.querySelector("[aria-current]");
    current?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [page]);
  return (
    <div class="monitor">
      <div class="m-bar-top">
        <nav class="m-tabs" aria-label="Pages of the monitor" ref={tabs}>
          {PAGES.map((of) => (
            <a key={of.place} href={hrefOf("monitor", of.place)} aria-current={of === page ? "page" : undefined}>
              {of.label}
              <Alarm place={of.place} />
            </a>
          ))}
        </nav>
        <Freshness />
      </div>
      <main class="m-main">
        <h1 class="visually-hidden">{page.label}</h1>
        <Problem />
        <page.Content path={rest} key={page.place} />
      </main>
      <Questions />
    </div>
  );
}

/** The number of things on a page that wait for the operator. */
function Alarm({ place }: { place: string }): JSX.Element | null {
  const answer = overview.data.value;
  if (!answer) return null;
  const isEmpty = place === "workers" && answer.workers.length === 0;
  if (isEmpty) return <span class="m-alarm">none</span>;
  if (place !== "dead-letters" || answer.dead_letters === 0) return null;
  return <span class="m-alarm">{count(answer.dead_letters)}</span>;
}

/** Says how fresh the numbers are. */
function Freshness(): JSX.Element {
  const at = overview.at.value;
  const isLost = overview.error.value !== null || staleFor.value !== null;
  const text = at === null ? (isLost ? "no data" : "loading") : isLost ? `data of ${clock(at)}` : "live";
  return (
    <span class={`m-fresh ${isLost ? "m-fresh-lost" : ""}`} title={at === null ? undefined : `read at ${clock(at)}`}>
      {text}
    </span>
  );
}

/** Says plainly that the numbers are old, and why. The text stays the same while that lasts: it is read out. */
function Problem(): JSX.Element | null {
  const [asksKey, setAsksKey] = useState(false);
  const error = overview.error.value;
  if (error === null && staleFor.value === null) return null;
  const status = error instanceof ApiError ? error.status : null;
  if (status === 401 || status === 403) {
    return (
      <>
        <Notice
          kind="error"
          title="This key does not open the operators’ routes"
          actions={
            <Button size="small" icon="key" onClick={() => setAsksKey(true)}>
              Enter another key
            </Button>
          }
        >
          {messageOf(error)}
        </Notice>
        {asksKey && <KeyDialog role={OPERATORS} onClose={() => setAsksKey(false)} />}
      </>
    );
  }
  const at = overview.at.value;
  const shown = at === null ? "" : `What is shown is of ${clock(at)}. `;
  const [title, reason] = problemOf(error);
  return (
    <Notice
      kind="error"
      title={title}
      actions={
        <Button size="small" icon="refresh" onClick={() => void overview.refresh()}>
          Try now
        </Button>
      }
    >
      {`${reason} ${shown}The page tries again every 2 s.`}
    </Notice>
  );
}

/** Returns what is wrong in a few words, and in a sentence. */
function problemOf(error: unknown): [string, string] {
  if (error instanceof ApiError && error.status === 404) {
    const reason =
      "If they have a listener of their own (ADMIN_PORT), a proxy must serve /ui/ and /admin/ at one address.";
    return ["This address does not serve the operators’ routes", reason];
  }
  if (error instanceof ApiError) return ["The server can’t answer", messageOf(error)];
  if (error instanceof ConnectionError) return ["The connection is lost", messageOf(error)];
  return ["The server does not answer", "It has not answered for some seconds."];
}
