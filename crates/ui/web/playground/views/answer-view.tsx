/** An answer: how far it is, what the model thought and said, what it called and marked. */

import { Button } from "../../ui/button";
import { Icon } from "../../ui/icons";
import { Notice } from "../../ui/notice";
import { CodeBlock, Markdown } from "../markdown/markdown";
import { adviceFor } from "../model/answer";
import { itemsOfSkill, itemsOfText } from "../model/marks";
import { describeChanged } from "../model/settings";
import { splitThinking } from "../model/thinking";
import { isRunning } from "../model/tree";
import type { Answer, Conversation, Question, Settings } from "../model/types";
import { retry } from "../store/actions";
import { models, skills } from "../store/catalogue";
import { disconnected, stopping } from "../store/runs";
import { AnswerFooter } from "./answer-footer";
import { MarkedPictures } from "./marked-pictures";

export interface AnswerViewProps {
  conversation: Conversation;
  question: Question;
  answer: Answer;
  /** The name of the side in a comparison. */
  side: string | null;
}

export function AnswerView({ conversation, question, answer, side }: AnswerViewProps) {
  return (
    <section class="answer" aria-label={side ? `Answer ${side}` : "Answer"} aria-busy={isRunning(answer)}>
      <Head settings={answer.settings} side={side} />
      <Content question={question} answer={answer} />
      <Progress answer={answer} />
      {answer.phase === "cancelled" && <p class="answer-note">Stopped.</p>}
      {answer.failure && <FailureCard answer={answer} onRetry={() => retry(conversation, answer)} />}
      {answer.warnings.length > 0 && (
        <Notice kind="warning" title={answer.warnings.length === 1 ? "A warning" : "Warnings"}>
          <ul class="warnings">
            {answer.warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        </Notice>
      )}
      {!isRunning(answer) && <AnswerFooter conversation={conversation} answer={answer} />}
    </section>
  );
}

/** Names the side of a comparison, and the skill that answers. */
function Head({ settings, side }: { settings: Settings; side: string | null }) {
  const skill = skills.value.find((one) => one.name === settings.skill?.name)?.title ?? settings.skill?.name;
  if (side === null && skill === undefined) return null;
  const model = settings.model ?? models.value[0]?.id ?? "Default model";
  const words = side === null ? [skill] : [model, skill, describeChanged(settings)];
  return (
    <header class="answer-head">
      {side === null ? <Icon name="tool" size={16} /> : <span>{side}</span>}
      {words.filter(Boolean).join(" · ")}
    </header>
  );
}

function Content({ question, answer }: { question: Question; answer: Answer }) {
  // Without `parts`, the text has everything that the model wrote.
  const split = answer.reasoning ? { ...answer, isOpen: false } : splitThinking(answer.text);
  const isThinking = answer.phase === "processing" && (split.isOpen || (split.text === "" && split.reasoning !== ""));
  const pictures = question.attachments.filter((one) => one.kind === "image");
  const isEnded = answer.phase === "completed";
  const isOfSkill = answer.structured !== undefined;
  const items = isOfSkill ? itemsOfSkill(answer.structured) : isEnded ? itemsOfText(split.text, pictures) : [];
  const hasItems = items.length > 0;
  return (
    <>
      {split.reasoning && <Reasoning answer={answer} text={split.reasoning} isThinking={isThinking} />}
      {hasItems && <MarkedPictures items={items} pictures={pictures} annotated={answer.annotated ?? []} />}
      {hasItems ? (
        <Folded title="Text of the answer" text={split.text} />
      ) : isEnded && isOfSkill && typeof answer.structured === "object" && answer.structured !== null ? (
        <Structured value={answer.structured} text={split.text} />
      ) : (
        split.text && <Markdown text={split.text} />
      )}
      {answer.toolCalls.map((call, index) => (
        <ToolCallCard key={index} call={call} />
      ))}
    </>
  );
}

function Reasoning({ answer, text, isThinking }: { answer: Answer; text: string; isThinking: boolean }) {
  const { reasoningStartedAt: from, reasoningEndedAt: to } = answer;
  const took = from !== undefined && to !== undefined ? ` for ${((to - from) / 1000).toFixed(1)} s` : "";
  return (
    <details class="reasoning">
      <summary>
        <Icon name="chevronRight" size={14} />
        {isThinking ? <span class="shimmer">Thinking…</span> : `Thought${took}`}
      </summary>
      <div class="reasoning-text">{text}</div>
    </details>
  );
}

function Folded({ title, text }: { title: string; text: string }) {
  return (
    <details class="folded">
      <summary>
        <Icon name="chevronRight" size={14} />
        {title}
      </summary>
      <CodeBlock language="" text={text} />
    </details>
  );
}

/** A skill's value without places: the values of a form, a document. */
function Structured({ value, text }: { value: object; text: string }) {
  const document = value as { html?: unknown; markdown?: unknown };
  const source = document.markdown ?? document.html;
  return (
    <>
      {typeof source === "string" ? (
        <CodeBlock language={document.markdown ? "markdown" : "html"} text={source} />
      ) : (
        <CodeBlock language="json" text={JSON.stringify(value, null, 2)} />
      )}
      <Folded title="Text of the answer" text={text} />
    </>
  );
}

function ToolCallCard({ call }: { call: Answer["toolCalls"][number] }) {
  return (
    <div class="tool-call">
      <p class="tool-call-name">
        <Icon name="tool" size={16} />
        {call.name ?? "A call that can't be read"}
      </p>
      {call.error && <p class="field-error">{call.error}</p>}
      <CodeBlock
        language={call.raw === undefined ? "json" : "text"}
        text={call.raw ?? JSON.stringify(call.arguments ?? {}, null, 2)}
      />
    </div>
  );
}

/** Says what an answer waits for: its place in the queue, its first word, its connection. */
function Progress({ answer }: { answer: Answer }) {
  if (!isRunning(answer)) return null;
  return (
    <p class="progress">
      <span class="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      {progressText(answer)}
    </p>
  );
}

function progressText(answer: Answer): string {
  if (disconnected.value.has(answer.id) && answer.phase === "sending") return "No connection; trying again…";
  if (disconnected.value.has(answer.id)) return "Connection lost. The task goes on; connecting again…";
  if (stopping.value.has(answer.id)) return "Stopping…";
  if (answer.phase === "sending") return answer.call ? "Sending…" : "Preparing…";
  if (answer.phase === "processing") return answer.text || answer.reasoning ? "" : "Reading the question…";
  const place = answer.queuePosition === undefined ? "Queued" : `Position ${answer.queuePosition} in the queue`;
  return answer.eta ? `${place}, ready in about ${range(answer.eta)}` : place;
}

function range({ low, high }: { low: number; high: number }): string {
  const [from, to] = [Math.max(1, Math.round(low)), Math.max(1, Math.round(high))];
  return from === to ? `${from} s` : `${from} to ${to} s`;
}

function FailureCard({ answer, onRetry }: { answer: Answer; onRetry: () => void }) {
  if (!answer.failure) return null;
  const { title, advice } = adviceFor(answer.failure);
  return (
    <Notice
      kind="error"
      title={title}
      actions={
        <Button size="small" icon="refresh" onClick={onRetry}>
          Retry
        </Button>
      }
    >
      <p>{answer.failure.message}</p>
      <p class="advice">{advice}</p>
    </Notice>
  );
}
