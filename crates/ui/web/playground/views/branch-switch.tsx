/** ‹ 2/3 › switches between alternatives of a question or an answer. */

import { IconButton } from "../../ui/button";
import { alternatives, pick } from "../model/tree";
import type { Conversation, Node } from "../model/types";
import { change } from "../store/actions";

export function BranchSwitch({ conversation, node }: { conversation: Conversation; node: Node }) {
  const all = alternatives(conversation, node);
  if (all.length < 2) return null;
  const at = all.indexOf(node.id);
  const show = (index: number): void => {
    const id = all[index];
    if (id !== undefined) change(conversation.id, (before) => pick(before, id));
  };
  const what = node.kind === "question" ? "question" : "answer";
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms.
    <span class="branch-switch" role="group" aria-label={`Versions of the ${what}`}>
      <IconButton
        icon="chevronLeft"
        size="small"
        label={`Previous version of the ${what}`}
        disabled={at === 0}
        onClick={() => show(at - 1)}
      />
      <span>
        {at + 1}/{all.length}
      </span>
      <IconButton
        icon="chevronRight"
        size="small"
        label={`Next version of the ${what}`}
        disabled={at === all.length - 1}
        onClick={() => show(at + 1)}
      />
    </span>
  );
}
