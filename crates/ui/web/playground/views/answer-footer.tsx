/** What stands under an answer: its versions, what can be done with it, and what it took. */

import { IconButton } from "../../ui/button";
import { copyText } from "../../ui/copy";
import { count, integer, seconds } from "../../ui/format";
import { Menu } from "../../ui/menu";
import { curl, python } from "../model/snippets";
import { splitThinking } from "../model/thinking";
import type { Answer, Conversation } from "../model/types";
import { retry } from "../store/actions";
import { BranchSwitch } from "./branch-switch";

export function AnswerFooter({ conversation, answer }: { conversation: Conversation; answer: Answer }) {
  const { call } = answer;
  const text = splitThinking(answer.text).text;
  return (
    <footer class="answer-foot">
      <div class="message-actions">
        <BranchSwitch conversation={conversation} node={answer} />
        {text && <IconButton icon="copy" size="small" label="Copy the answer" onClick={() => copyText(text)} />}
        {!answer.failure && (
          <IconButton
            icon="refresh"
            size="small"
            label="Retry as another version"
            onClick={() => retry(conversation, answer)}
          />
        )}
        {call && (
          <Menu
            label="Copy the request"
            icon="code"
            size="small"
            align="start"
            items={[
              {
                label: "Copy as curl",
                icon: "copy",
                hint: "The key is taken from $KEY",
                onSelect: () => copyText(curl(call, location.origin), "Copied as curl"),
              },
              {
                label: "Copy as Python",
                icon: "copy",
                hint: "For the standard library; the key is taken from KEY",
                onSelect: () => copyText(python(call, location.origin), "Copied as Python"),
              },
            ]}
          />
        )}
      </div>
      <Figures answer={answer} />
    </footer>
  );
}

function Figures({ answer }: { answer: Answer }) {
  const { metrics } = answer;
  if (!metrics) return null;
  const cached = metrics.cached_tokens ? ` (${integer(metrics.cached_tokens)} cached)` : "";
  const figures: [string, string][] = [
    ["Waited in the queue", `${seconds(metrics.queue_wait_time)} wait`],
    ["Processing time", `${seconds(metrics.processing_time)} run`],
    ["Tokens of the prompt", `${count(metrics.prompt_tokens, "token")} in${cached}`],
    ["Generated tokens", `${integer(metrics.completion_tokens)} out`],
    ["Speed", `${count(Math.round(metrics.tokens_per_second), "token")}/s`],
  ];
  return (
    <dl class="figures">
      {figures.map(([name, value]) => (
        <div key={name} title={name}>
          <dt class="visually-hidden">{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
      {answer.finishReason === "length" && (
        <div title="The maximum of tokens or the model's context ended the answer">
          <dt class="visually-hidden">End</dt>
          <dd class="cut-off">cut off</dd>
        </div>
      )}
    </dl>
  );
}
