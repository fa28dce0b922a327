/** Where questions are written and files are attached. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Skill } from "../../api/types";
import { Button, IconButton } from "../../ui/button";
import { Icon } from "../../ui/icons";
import { Menu } from "../../ui/menu";
import { checkQuestion } from "../model/check";
import type { Attachment, Conversation } from "../model/types";
import { chooseSkill } from "../store/actions";
import { skills } from "../store/catalogue";
import { draftOf, keepDraft } from "../store/drafts";
import { ACCEPTED, AttachmentTile, attach } from "./attachments";
import { CameraDialog, hasCamera } from "./camera";

export interface ComposerProps {
  conversation: Conversation;
  isRunning: boolean;
  onSend: (text: string, attachments: Attachment[]) => void;
  onStop: () => void;
  onShowSettings: () => void;
}

export function Composer({ conversation, isRunning, onSend, onStop, onShowSettings }: ComposerProps) {
  const [text, setText] = useState(() => draftOf(conversation.id).text);
  const [attachments, setAttachments] = useState(() => draftOf(conversation.id).attachments);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => keepDraft(conversation.id, { text, attachments }), [conversation.id, text, attachments]);
  useGrowing(area, text);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches && document.activeElement === document.body) area.current?.focus();
  }, []);

  const skill = skills.value.find((one) => one.name === conversation.columns[0]?.skill?.name);
  const problem = checkQuestion(conversation, skills.value, text, attachments);
  const addFiles = async (files: Iterable<File>): Promise<void> => {
    const added = await attach(files);
    setAttachments((before) => [...before, ...added]);
  };
  const form = useRef<HTMLFormElement>(null);
  const isDropping = useDrop(form, addFiles);
  const send = (): void => {
    if (isRunning || problem !== null) return;
    onSend(text, attachments);
    setText("");
    setAttachments([]);
  };

  return (
    <div class="composer-frame">
      <form
        ref={form}
        class={isDropping ? "composer is-dropping" : "composer"}
        aria-label="Ask a question"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        {attachments.length > 0 && (
          <div class="composer-files">
            {attachments.map((one) => (
              <AttachmentTile
                key={one.id}
                attachment={one}
                onRemove={() => setAttachments(attachments.filter(({ id }) => id !== one.id))}
              />
            ))}
          </div>
        )}
        <textarea
          ref={area}
          rows={1}
          value={text}
          aria-label="Question"
          placeholder={isDropping ? "Drop pictures and videos here" : placeholderFor(skill)}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              send();
            }
          }}
          onPaste={(event) => {
            const files = event.clipboardData?.files;
            if (!files || files.length === 0) return;
            event.preventDefault();
            void addFiles(files);
          }}
        />
        <div class="composer-bar">
          <AttachButtons onFiles={addFiles} />
          <SkillMenu conversation={conversation} onShowSettings={onShowSettings} />
          <span class="composer-hint">{(skill || text || attachments.length > 0) && problem}</span>
          {isRunning ? (
            <IconButton icon="stop" label="Stop" variant="primary" onClick={onStop} />
          ) : (
            <IconButton icon="arrowUp" label="Send" variant="primary" type="submit" disabled={problem !== null} />
          )}
        </div>
      </form>
    </div>
  );
}

function placeholderFor(skill: Skill | undefined): string {
  if (!skill) return "Ask a question";
  if (!("prompt" in skill.schema.properties)) return "This skill takes files only";
  return skill.schema.required.includes("prompt") ? "What should be done?" : "Anything to add? (optional)";
}

/** Takes files that are dropped anywhere on the conversation. Returns whether some are held over it. */
function useDrop(form: { current: HTMLFormElement | null }, onFiles: (files: Iterable<File>) => void): boolean {
  const [isOver, setOver] = useState(false);
  const take = useRef(onFiles);
  take.current = onFiles;
  useEffect(() => {
    const area = form.current?.closest<HTMLElement>("main");
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (!area?.contains(event.relatedTarget as Node | null)) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      setOver(false);
      take.current(event.dataTransfer.files);
    };
    area?.addEventListener("dragover", over);
    area?.addEventListener("dragleave", leave);
    area?.addEventListener("drop", drop);
    return () => {
      area?.removeEventListener("dragover", over);
      area?.removeEventListener("dragleave", leave);
      area?.removeEventListener("drop", drop);
    };
  }, [form]);
  return isOver;
}

/** Makes the field as high as its text, up to the style sheet's maximum. */
function useGrowing(area: { current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);
}

function AttachButtons({ onFiles }: { onFiles: (files: Iterable<File>) => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [canTake, setCanTake] = useState(false);
  const [isTaking, setTaking] = useState(false);
  useEffect(() => {
    void hasCamera().then(setCanTake);
  }, []);
  return (
    <>
      <IconButton icon="paperclip" label="Attach pictures or videos" onClick={() => input.current?.click()} />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept={ACCEPTED}
        aria-label="Pictures and videos"
        onChange={(event) => {
          onFiles(Array.from(event.currentTarget.files ?? []));
          event.currentTarget.value = "";
        }}
      />
      {canTake && <IconButton icon="camera" label="Take a picture" onClick={() => setTaking(true)} />}
      {isTaking && <CameraDialog onTake={(file) => onFiles([file])} onClose={() => setTaking(false)} />}
    </>
  );
}

/** Chooses a skill for all columns; its fields are in the settings. */
function SkillMenu({ conversation, onShowSettings }: { conversation: Conversation; onShowSettings: () => void }) {
  const chosen = conversation.columns[0]?.skill?.name ?? null;
  const choose = (name: string | null): void => {
    if (chooseSkill(conversation.id, name)) onShowSettings();
  };
  return (
    <>
      <Menu
        label="Skills"
        icon="tool"
        align="start"
        isUpward
        items={[
          { label: "No skill", checked: chosen === null, onSelect: () => choose(null) },
          ...skills.value.map(({ name, title }) => ({
            label: title,
            hint: name,
            checked: name === chosen,
            onSelect: () => choose(name),
          })),
        ]}
      />
      {chosen !== null && (
        <Button size="small" onClick={() => choose(null)} title="Use no skill">
          <span class="skill-chip">
            {skills.value.find((skill) => skill.name === chosen)?.title ?? chosen}
            <Icon name="close" size={14} />
          </span>
        </Button>
      )}
    </>
  );
}
