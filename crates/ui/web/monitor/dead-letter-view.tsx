/** One dead letter: its task, and the error of each attempt. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { hrefOf } from "../state/route";
import { IconButton } from "../ui/button";
import { copyText } from "../ui/copy";
import { Notice } from "../ui/notice";
import { getDeadLetter } from "./api";
import { dateTime, duration } from "./format";
import { Fact, Facts, Id, Loading, messageOf, Panel } from "./parts";
import type { DeadLetter } from "./replies";

interface Props {
  taskId: string;
  actions: ComponentChildren;
  onClose: () => void;
}

export function DeadLetterView({ taskId, actions, onClose }: Props): JSX.Element {
  const [letter, setLetter] = useState<DeadLetter | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const abort = new AbortController();
    getDeadLetter(taskId, abort.signal).then(setLetter, (reason) => {
      if (!abort.signal.aborted) setError(reason);
    });
    return () => abort.abort();
  }, [taskId]);
  return (
    <Panel title="Dead letter" state={<Id id={taskId} isWhole />} actions={actions} onClose={onClose}>
      {error !== null && (
        <Notice kind="warning" title="The dead letter can’t be shown">
          {messageOf(error)}
        </Notice>
      )}
      {error === null && letter === null && <Loading what="the dead letter" />}
      {letter !== null && <Content letter={letter} />}
    </Panel>
  );
}

function Content({ letter }: { letter: DeadLetter }): JSX.Element {
  const task = JSON.stringify(letter.task, null, 2);
  return (
    <>
      <Facts>
        <Fact name="Model">{letter.model}</Fact>
        <Fact name="Submitted">{dateTime(letter.submitted_at)}</Fact>
        <Fact name="Died">{`${dateTime(letter.died_at)}, after ${duration((letter.died_at - letter.submitted_at) / 1000)}`}</Fact>
        <Fact name="Events">
          <a href={hrefOf("monitor", "tasks", letter.task_id)}>timeline of the task</a>
        </Fact>
      </Facts>
      <Notice kind="error" title={letter.error_type}>
        {letter.error_message}
      </Notice>
      <h3>Attempts</h3>
      <ol class="m-failures">
        {letter.failures.map((failure) => (
          <li key={`${failure.attempt} ${failure.at}`}>
            <span class="m-strong">Attempt {failure.attempt}</span>
            <span class="m-dim">{dateTime(failure.at)}, worker</span> <Id id={failure.worker} />
            <span class="m-failure-text">
              <span class="m-bad">{failure.error_type}</span> {failure.error_message}
            </span>
          </li>
        ))}
      </ol>
      <details class="m-details">
        <summary>Request</summary>
        <div class="m-code">
          <IconButton icon="copy" label="Copy the request" size="small" onClick={() => void copyText(task)} />
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reached by keyboard. */}
          <pre class="m-text" tabIndex={0}>
            {task}
          </pre>
        </div>
      </details>
    </>
  );
}
