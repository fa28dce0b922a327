/** The playground: a sidebar of conversations, and the open one. */

import { useEffect, useState } from "preact/hooks";
import { goTo } from "../state/route";
import { Button } from "../ui/button";
import { Empty } from "../ui/notice";
import "./playground.css";
import { draft, openNew } from "./store/actions";
import { followKey } from "./store/catalogue";
import { conversation, isLoaded, load } from "./store/conversations";
import { runAll } from "./store/runs";
import { ConversationView } from "./views/conversation-view";
import { SEARCH_ID, Sidebar } from "./views/sidebar";

let isStarted = false;

/** Reads the stored conversations and goes on with answers that had not ended when the page was closed. */
async function start(): Promise<void> {
  if (isStarted) return;
  isStarted = true;
  for (const one of await load()) runAll(one);
}

export function Playground({ path }: { path: string[] }) {
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const id = path[0];
  const open = id === undefined ? draft.value : conversation(id);

  useEffect(() => {
    void start();
    return followKey();
  }, []);
  useEffect(() => setDrawerOpen(false), [id, draft.value.id]);
  useShortcuts(() => setDrawerOpen(true));

  return (
    <div class="playground">
      <Sidebar openId={id ?? null} isDrawerOpen={isDrawerOpen} onCloseDrawer={() => setDrawerOpen(false)} />
      {open ? (
        <ConversationView key={open.id} conversation={open} onOpenDrawer={() => setDrawerOpen(true)} />
      ) : (
        <main class="conversation">
          {isLoaded.value && (
            <Empty
              title="This conversation is not in this browser"
              actions={<Button onClick={() => goTo(["chat"])}>New conversation</Button>}
            >
              It was deleted, or belongs to another device.
            </Empty>
          )}
        </main>
      )}
    </div>
  );
}

function focusSearch(): void {
  document.getElementById(SEARCH_ID)?.focus();
}

/** Ctrl+K or ⌘K searches, Ctrl+Shift+O or ⌘⇧O opens a new conversation. */
function useShortcuts(openDrawer: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
      const key = event.key.toLowerCase();
      if (key === "k" && !event.shiftKey) {
        event.preventDefault();
        openDrawer();
        // At once, for the next key; and again when the drawer of a narrow page is visible.
        focusSearch();
        requestAnimationFrame(focusSearch);
      } else if (key === "o" && event.shiftKey) {
        event.preventDefault();
        openNew();
      }
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
}
