/** The open conversation: its head, its thread, the composer, and its settings. */

import { useEffect, useState } from "preact/hooks";
import { IconButton } from "../../ui/button";
import { countChanged } from "../model/settings";
import { isRunning, path, titleOf } from "../model/tree";
import type { Conversation } from "../model/types";
import { askQuestion, change } from "../store/actions";
import { stop } from "../store/runs";
import { Composer } from "./composer";
import { ExportMenu } from "./export-menu";
import { SettingsPanel } from "./settings-panel";
import { Thread } from "./thread";
import { Welcome } from "./welcome";

const SETTINGS_OPEN = "qwen-queue.settings-open";
/** Narrower pages show the settings over the conversation, so they begin closed. */
const WIDE = matchMedia("(min-width: 1180px)");

export function ConversationView({
  conversation,
  onOpenDrawer,
}: {
  conversation: Conversation;
  onOpenDrawer: () => void;
}) {
  const [hasSettings, setHasSettings] = useState(WIDE.matches && localStorage.getItem(SETTINGS_OPEN) === "yes");
  const showSettings = (isShown: boolean): void => {
    setHasSettings(isShown);
    if (WIDE.matches) localStorage.setItem(SETTINGS_OPEN, isShown ? "yes" : "no");
  };
  const turns = path(conversation);
  const running = turns.flatMap((turn) => turn.answers).filter((answer) => answer !== null && isRunning(answer));
  const title = titleOf(conversation);
  useEffect(() => {
    document.title = turns.length > 0 ? `${title} · qwen-queue` : "Playground · qwen-queue";
  }, [title, turns.length]);

  return (
    <>
      <main class="conversation">
        <header class="conversation-head">
          <span class="only-narrow">
            <IconButton icon="menu" label="Show the conversations" onClick={onOpenDrawer} />
          </span>
          <h1>{title}</h1>
          <div class="conversation-actions">
            <CompareButton conversation={conversation} />
            {turns.length > 0 && <ExportMenu conversation={conversation} />}
            <SettingsButton
              conversation={conversation}
              isOpen={hasSettings}
              onToggle={() => showSettings(!hasSettings)}
            />
          </div>
        </header>
        {turns.length > 0 ? (
          <Thread conversation={conversation} turns={turns} />
        ) : (
          <Welcome conversation={conversation} onShowSettings={() => showSettings(true)} />
        )}
        <Composer
          conversation={conversation}
          isRunning={running.length > 0}
          onSend={(text, attachments) => askQuestion(conversation, text, attachments)}
          onStop={() => {
            for (const answer of running) if (answer) void stop(answer);
          }}
          onShowSettings={() => showSettings(true)}
        />
      </main>
      {hasSettings && <SettingsPanel conversation={conversation} onClose={() => showSettings(false)} />}
    </>
  );
}

function CompareButton({ conversation }: { conversation: Conversation }) {
  const isOn = conversation.columns.length > 1;
  const toggle = (): void =>
    change(conversation.id, (before) => {
      const [first] = before.columns;
      if (!first) return before;
      return { ...before, columns: before.columns.length > 1 ? [first] : [first, { ...first }] };
    });
  return <IconButton icon="columns" label="Compare side by side" pressed={isOn} onClick={toggle} />;
}

function SettingsButton(props: { conversation: Conversation; isOpen: boolean; onToggle: () => void }) {
  const changed = props.conversation.columns.reduce((sum, settings) => sum + countChanged(settings), 0);
  const label = changed > 0 ? `Settings, ${changed} changed` : "Settings";
  return (
    <span class={changed > 0 ? "has-dot" : undefined}>
      <IconButton icon="settings" label={label} expanded={props.isOpen} onClick={props.onToggle} />
    </span>
  );
}
