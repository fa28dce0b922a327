/** A question with its files; it can be edited, which makes a branch. */

import { useState } from "preact/hooks";
import { Button, IconButton } from "../../ui/button";
import { copyText } from "../../ui/copy";
import type { Conversation, Question } from "../model/types";
import { askEdited } from "../store/actions";
import { AttachmentTile } from "./attachments";
import { BranchSwitch } from "./branch-switch";

export function QuestionView({ conversation, question }: { conversation: Conversation; question: Question }) {
  const [isEditing, setEditing] = useState(false);
  if (isEditing) {
    return <Editor conversation={conversation} question={question} onEnd={() => setEditing(false)} />;
  }
  return (
    <div class="question">
      {question.attachments.length > 0 && (
        <div class="question-files">
          {question.attachments.map((attachment) => (
            <AttachmentTile key={attachment.id} attachment={attachment} isLarge />
          ))}
        </div>
      )}
      {question.text && <div class="question-text">{question.text}</div>}
      <div class="message-actions">
        <BranchSwitch conversation={conversation} node={question} />
        <IconButton icon="edit" size="small" label="Edit the question" onClick={() => setEditing(true)} />
        {question.text && (
          <IconButton icon="copy" size="small" label="Copy the question" onClick={() => copyText(question.text)} />
        )}
      </div>
    </div>
  );
}

function Editor({
  conversation,
  question,
  onEnd,
}: {
  conversation: Conversation;
  question: Question;
  onEnd: () => void;
}) {
  const [text, setText] = useState(question.text);
  const [attachments, setAttachments] = useState(question.attachments);
  const isEmpty = text.trim() === "" && attachments.length === 0;
  const send = (): void => {
    if (isEmpty) return;
    askEdited(conversation, question, text, attachments);
    onEnd();
  };
  return (
    <div class="question-editor">
      {attachments.length > 0 && (
        <div class="question-files">
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
        class="input textarea"
        aria-label="Edited question"
        rows={Math.min(10, Math.max(2, text.split("\n").length))}
        value={text}
        ref={(element) => {
          if (element && document.activeElement === document.body) element.focus();
        }}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            send();
          }
          if (event.key === "Escape") onEnd();
        }}
      />
      <div class="editor-actions">
        <Button size="small" onClick={onEnd}>
          Cancel
        </Button>
        <Button size="small" variant="primary" disabled={isEmpty} onClick={send}>
          Ask again
        </Button>
      </div>
    </div>
  );
}
