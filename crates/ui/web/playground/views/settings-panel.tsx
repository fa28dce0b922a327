/** The settings of a conversation: model, skill, system prompt, sampling, priority. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Button, IconButton } from "../../ui/button";
import { NumberField, Segmented, Select, TextArea } from "../../ui/field";
import { useFocusWithin } from "../../ui/focus";
import { Notice } from "../../ui/notice";
import { BOUNDS, defaultSettings, readTools, SERVER_DEFAULTS } from "../model/settings";
import type { Conversation, Settings } from "../model/types";
import { change } from "../store/actions";
import { catalogueProblem, models, refreshCatalogue, refreshSkill, skills } from "../store/catalogue";
import { SkillFields } from "./skill-fields";

export function SettingsPanel({ conversation, onClose }: { conversation: Conversation; onClose: () => void }) {
  const [side, setSide] = useState<"A" | "B">("A");
  const panel = useRef<HTMLElement>(null);
  // Workers come and go, and with them models.
  useEffect(() => void refreshCatalogue(), []);
  useFocusWithin(panel, matchMedia("(max-width: 1179px)").matches);
  const isCompared = conversation.columns.length > 1;
  const column = isCompared && side === "B" ? 1 : 0;
  const settings = conversation.columns[column];
  if (!settings) return null;
  const set = (changed: Partial<Settings>): void =>
    change(conversation.id, (before) => ({
      ...before,
      columns: before.columns.map((old, index) => (index === column ? { ...old, ...changed } : old)),
    }));
  return (
    <>
      <button type="button" class="settings-scrim" tabIndex={-1} aria-hidden="true" onClick={onClose} />
      <aside
        ref={panel}
        class="settings"
        aria-label="Settings"
        onKeyDown={(event) => {
          if (event.key === "Escape") onClose();
        }}
      >
        <header class="settings-head">
          <h2>Settings</h2>
          <IconButton icon="close" label="Close the settings" onClick={onClose} />
        </header>
        <div class="settings-body">
          {isCompared && (
            <Segmented
              label="Side"
              hideLabel
              value={side}
              onInput={setSide}
              options={[
                { value: "A", label: "Side A" },
                { value: "B", label: "Side B" },
              ]}
            />
          )}
          <div class="form" key={column}>
            <ModelFields settings={settings} set={set} />
            <PromptFields settings={settings} set={set} />
            <SamplingFields settings={settings} set={set} />
          </div>
          <Button onClick={() => set({ ...unset(settings), ...defaultSettings() })}>Reset to defaults</Button>
        </div>
      </aside>
    </>
  );
}

/** All keys without values, so that a reset takes values away too. */
function unset(settings: Settings): Partial<Settings> {
  return Object.fromEntries(Object.keys(settings).map((key) => [key, undefined]));
}

interface PartProps {
  settings: Settings;
  set: (changed: Partial<Settings>) => void;
}

function ModelFields({ settings, set }: PartProps) {
  const listed = models.value.map((model) => ({
    value: model.id,
    label: model.quantization ? `${model.id} (${model.quantization})` : model.id,
  }));
  const isListed = settings.model === null || listed.some(({ value }) => value === settings.model);
  const gone =
    isListed || settings.model === null ? [] : [{ value: settings.model, label: `${settings.model} (not served now)` }];
  const skill = skills.value.find((one) => one.name === settings.skill?.name);
  return (
    <>
      {catalogueProblem.value && (
        <Notice
          kind="error"
          title="Models could not be read"
          actions={
            <Button size="small" onClick={refreshCatalogue}>
              Try again
            </Button>
          }
        >
          {catalogueProblem.value}
        </Notice>
      )}
      <Select
        label="Model"
        value={settings.model ?? ""}
        onInput={(value) => set({ model: value || null })}
        options={[{ value: "", label: "The server's default" }, ...gone, ...listed]}
      />
      <Select
        label="Skill"
        value={settings.skill?.name ?? ""}
        onInput={(name) => {
          set({ skill: name ? { name, values: {} } : null });
          if (name) void refreshSkill(name);
        }}
        options={[
          { value: "", label: "None" },
          ...skills.value.map(({ name, title }) => ({ value: name, label: title })),
        ]}
        hint={skill?.description}
      />
      {skill && settings.skill && (
        <SkillFields
          key={skill.name}
          skill={skill}
          values={settings.skill.values}
          onChange={(values) => set({ skill: { name: skill.name, values } })}
        />
      )}
    </>
  );
}

function PromptFields({ settings, set }: PartProps) {
  if (settings.skill) return null;
  const read = readTools(settings.tools);
  return (
    <>
      <TextArea
        label="System prompt"
        rows={3}
        value={settings.system}
        onInput={(system) => set({ system })}
        placeholder="You are a helpful assistant."
      />
      <Segmented
        label="Thinking"
        value={settings.thinking}
        onInput={(thinking) => set({ thinking })}
        options={[
          { value: "default", label: "Model's" },
          { value: "on", label: "On" },
          { value: "off", label: "Off" },
        ]}
      />
      <details class="settings-more">
        <summary>Tools</summary>
        <TextArea
          label="Functions that the model may call"
          isCode
          rows={6}
          value={settings.tools}
          onInput={(tools) => set({ tools })}
          error={"problem" in read ? read.problem : null}
          placeholder='[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]'
          hint="A JSON array in OpenAI's format. Calls are shown, not executed."
        />
      </details>
    </>
  );
}

function SamplingFields({ settings, set }: PartProps) {
  const skill = skills.value.find((one) => one.name === settings.skill?.name);
  const placeholder = (name: string, ours: number | string): string => {
    const ofSkill = name === "max_tokens" ? skill?.max_tokens : skill?.sampling?.[name];
    return `${typeof ofSkill === "number" ? ofSkill : ours}`;
  };
  return (
    <>
      <div class="field-pair">
        <NumberField
          label="Temperature"
          value={settings.temperature}
          onInput={(temperature) => set({ temperature })}
          placeholder={placeholder("temperature", SERVER_DEFAULTS.temperature)}
          {...BOUNDS.temperature}
          step="any"
        />
        <NumberField
          label="Maximum of tokens"
          value={settings.maxTokens}
          onInput={(maxTokens) => set({ maxTokens })}
          placeholder={placeholder("max_tokens", SERVER_DEFAULTS.maxTokens)}
          {...BOUNDS.maxTokens}
        />
        <NumberField
          label="Top p"
          value={settings.topP}
          onInput={(topP) => set({ topP })}
          placeholder={placeholder("top_p", SERVER_DEFAULTS.topP)}
          {...BOUNDS.topP}
          step="any"
        />
        <NumberField
          label="Top k"
          value={settings.topK}
          onInput={(topK) => set({ topK })}
          placeholder={placeholder("top_k", "All")}
          {...BOUNDS.topK}
        />
        <NumberField
          label="Seed"
          value={settings.seed}
          onInput={(seed) => set({ seed })}
          placeholder="Random"
          {...BOUNDS.seed}
        />
        <Select
          label="Priority"
          value={settings.priority}
          onInput={(priority) => set({ priority: priority as Settings["priority"] })}
          options={[
            { value: "high", label: "High" },
            { value: "normal", label: "Normal" },
            { value: "low", label: "Low" },
            { value: "batch", label: "Batch" },
          ]}
        />
      </div>
      <p class="field-hint">
        Empty fields are left to the skill, the model's recommendation, or the server, in this order.
      </p>
    </>
  );
}
