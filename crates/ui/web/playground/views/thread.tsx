/** The shown path of a conversation, which follows its end while answers grow. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "../../ui/button";
import type { Turn } from "../model/tree";
import type { Answer, Conversation } from "../model/types";
import { AnswerView } from "./answer-view";
import { QuestionView } from "./question-view";

export function Thread({ conversation, turns }: { conversation: Conversation; turns: Turn[] }) {
  const { frame, isAtEnd, toEnd } = useStickToEnd(turns);
  const isCompared = conversation.columns.length > 1;
  return (
    <div class="thread-frame">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, also by keyboard. */}
      <section class="thread" ref={frame} aria-label="Conversation" tabIndex={0}>
        <div class={isCompared ? "thread-content is-compared" : "thread-content"}>
          {turns.map(({ question, answers }) => (
            <article key={question.id} class="turn">
              <QuestionView conversation={conversation} question={question} />
              <div class="turn-answers">
                {answers.map((answer, column) =>
                  answer ? (
                    <AnswerView
                      key={answer.id}
                      conversation={conversation}
                      question={question}
                      answer={answer}
                      side={isCompared ? (column === 0 ? "A" : "B") : null}
                    />
                  ) : (
                    <p key={column} class="no-answer">
                      Not asked for this side.
                    </p>
                  ),
                )}
              </div>
            </article>
          ))}
        </div>
      </section>
      {!isAtEnd && (
        <div class="to-end">
          <IconButton icon="chevronDown" label="Go to the end" onClick={toEnd} />
        </div>
      )}
      <Announcer turns={turns} />
    </div>
  );
}

/** Keeps the end in view while the content grows, unless the reader has scrolled up. */
function useStickToEnd(turns: Turn[]) {
  const frame = useRef<HTMLElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  const sticks = useRef(true);
  const toEnd = (): void => {
    const element = frame.current;
    if (element) element.scrollTop = element.scrollHeight;
  };
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const onScroll = (): void => {
      sticks.current = element.scrollHeight - element.scrollTop - element.clientHeight < 48;
      setAtEnd(sticks.current);
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    // Pictures and a resized window change the height without a change of the turns.
    const observer = new ResizeObserver(() => sticks.current && toEnd());
    observer.observe(element);
    if (element.firstElementChild) observer.observe(element.firstElementChild);
    return () => {
      element.removeEventListener("scroll", onScroll);
      observer.disconnect();
    };
  }, []);
  useLayoutEffect(() => {
    if (sticks.current) toEnd();
  }, [turns]);
  useLayoutEffect(() => {
    sticks.current = true;
    toEnd();
  }, [turns.length]);
  return { frame, isAtEnd, toEnd };
}

/** Tells screen readers when answers begin and end, not each word. */
function Announcer({ turns }: { turns: Turn[] }) {
  const last = turns.at(-1)?.answers.filter((answer) => answer !== null) ?? [];
  return (
    <p class="visually-hidden" role="status" aria-live="polite">
      {last.map((answer) => SAID[answer.phase]).join(" ")}
    </p>
  );
}

const SAID: Record<Answer["phase"], string> = {
  sending: "The question is sent.",
  queued: "The question is queued.",
  processing: "The answer is being written.",
  completed: "The answer is complete.",
  failed: "The answer failed.",
  cancelled: "The answer was stopped.",
};
