/** The list of conversations: search, open, rename, delete, import. A drawer on narrow screens. */

import { useRef, useState } from "preact/hooks";
import { hrefOf } from "../../state/route";
import { Button, IconButton } from "../../ui/button";
import { useFocusWithin } from "../../ui/focus";
import { moment } from "../../ui/format";
import { Icon } from "../../ui/icons";
import { Menu } from "../../ui/menu";
import { toast } from "../../ui/toast";
import { find } from "../model/search";
import { answersOf, isRunning, titleOf } from "../model/tree";
import type { Conversation } from "../model/types";
import { openNew, removeConversation, rename } from "../store/actions";
import { conversations, isLoaded } from "../store/conversations";
import { importFile } from "../store/transfer";

export const SEARCH_ID = "conversation-search";

export interface SidebarProps {
  openId: string | null;
  isDrawerOpen: boolean;
  onCloseDrawer: () => void;
}

export function Sidebar({ openId, isDrawerOpen, onCloseDrawer }: SidebarProps) {
  const [query, setQuery] = useState("");
  const drawer = useRef<HTMLElement>(null);
  useFocusWithin(drawer, isDrawerOpen);
  const all = conversations.value;
  const found = query.trim()
    ? all.map((one) => ({ one, excerpt: find(one, query) }))
    : all.map((one) => ({ one, excerpt: "" }));
  const shown = found.filter((entry): entry is { one: Conversation; excerpt: string } => entry.excerpt !== null);
  return (
    <>
      {isDrawerOpen && (
        <button type="button" class="drawer-scrim" tabIndex={-1} aria-hidden="true" onClick={onCloseDrawer} />
      )}
      <aside
        ref={drawer}
        class={isDrawerOpen ? "sidebar is-open" : "sidebar"}
        aria-label="Conversations"
        onKeyDown={(event) => {
          if (event.key === "Escape") onCloseDrawer();
        }}
      >
        <div class="sidebar-head">
          <Button icon="plus" onClick={openNew} title="New conversation (Ctrl+Shift+O)">
            New conversation
          </Button>
          <ImportButton />
        </div>
        <label class="search">
          <Icon name="search" size={16} />
          <span class="visually-hidden">Search conversations</span>
          <input
            id={SEARCH_ID}
            type="search"
            value={query}
            placeholder="Search"
            title="Ctrl+K"
            autocomplete="off"
            onInput={(event) => setQuery(event.currentTarget.value)}
          />
        </label>
        <nav class="conversation-list" aria-label="Conversations">
          {shown.map(({ one, excerpt }) => (
            <Entry key={one.id} one={one} excerpt={excerpt} isOpen={one.id === openId} onOpen={onCloseDrawer} />
          ))}
          {isLoaded.value && shown.length === 0 && (
            <p class="list-empty">
              {query.trim() ? `No conversation has "${query.trim()}".` : "Your conversations appear here."}
            </p>
          )}
        </nav>
        <p class="sidebar-foot">Conversations stay in this browser.</p>
      </aside>
    </>
  );
}

function Entry({
  one,
  excerpt,
  isOpen,
  onOpen,
}: {
  one: Conversation;
  excerpt: string;
  isOpen: boolean;
  onOpen: () => void;
}) {
  const [isRenaming, setRenaming] = useState(false);
  const title = titleOf(one);
  const endRenaming = (chosen: string | null): void => {
    if (chosen !== null) rename(one.id, chosen);
    setRenaming(false);
  };
  if (isRenaming) return <RenameField title={title} onEnd={endRenaming} />;
  return (
    <div class={isOpen ? "entry is-open" : "entry"}>
      <a href={hrefOf("chat", one.id)} aria-current={isOpen ? "page" : undefined} onClick={onOpen}>
        <span class="entry-title">{title}</span>
        {excerpt && <span class="entry-excerpt">{excerpt}</span>}
      </a>
      {answersOf(one).some(isRunning) ? (
        <span class="entry-running" role="img" aria-label="Running" title="Running" />
      ) : (
        <span class="entry-time">{moment(one.updatedAt)}</span>
      )}
      <Menu
        label={`Actions for ${title}`}
        icon="more"
        size="small"
        items={[
          { label: "Rename", icon: "edit", onSelect: () => setRenaming(true) },
          { label: "Delete", icon: "trash", isDangerous: true, onSelect: () => removeConversation(one, isOpen) },
        ]}
      />
    </div>
  );
}

function RenameField({ title, onEnd }: { title: string; onEnd: (chosen: string | null) => void }) {
  const isOver = useRef(false);
  const end = (chosen: string | null): void => {
    if (isOver.current) return;
    isOver.current = true;
    onEnd(chosen);
  };
  return (
    <input
      class="input rename"
      aria-label="Title of the conversation"
      defaultValue={title}
      maxLength={120}
      ref={(element) => {
        if (element && document.activeElement !== element) element.select();
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter") end(event.currentTarget.value);
        if (event.key === "Escape") {
          event.stopPropagation();
          end(null);
        }
      }}
      onBlur={(event) => end(event.currentTarget.value)}
    />
  );
}

function ImportButton() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton icon="upload" label="Import a conversation" onClick={() => input.current?.click()} />
      <input
        ref={input}
        type="file"
        accept="application/json,.json"
        hidden
        aria-label="File of a conversation"
        onChange={async (event) => {
          const target = event.currentTarget;
          const file = target.files?.[0];
          target.value = "";
          if (!file) return;
          await importFile(file).catch((error: unknown) => {
            toast({ kind: "error", text: error instanceof Error ? error.message : String(error) });
          });
        }}
      />
    </>
  );
}
