/** The dialogs that create and change a key, and the one that shows its text, once. */

import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { ApiError } from "../api/errors";
import { Button } from "../ui/button";
import { copyText } from "../ui/copy";
import { Dialog } from "../ui/dialog";
import { Checkbox, Select, TextArea, TextField } from "../ui/field";
import { Notice } from "../ui/notice";
import { changeKey, createKey } from "./api";
import {
  bodyOf,
  changesOf,
  draftOf,
  type KeyDraft,
  LIMIT_NAMES,
  NEW_KEY,
  type Problems,
  problemsOf,
} from "./key-draft";
import { overview } from "./live";
import { messageOf } from "./parts";
import { type ApiKey, type ApiKeyWithText, LANES, type Lane, LIMITS, SCOPES, type Scope } from "./replies";

const SCOPE_NAMES: Record<Scope, string> = {
  submit: "submit: tasks, batches and files, and all that read opens",
  read: "read: tasks, results, files, models, the owner’s usage",
  admin: "admin: the operators’ routes",
};

interface Props {
  /** The key to change; without it a new one is created. */
  known: ApiKey | null;
  onClose: () => void;
  /** Gets the key with its text if it is new. */
  onDone: (created: ApiKeyWithText | null) => void;
}

export function KeyForm({ known, onClose, onDone }: Props): JSX.Element {
  const [draft, setDraft] = useState<KeyDraft>(known === null ? NEW_KEY : draftOf(known));
  const [problems, setProblems] = useState<Problems>({});
  const [failure, setFailure] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const id = useId();
  const set = (change: Partial<KeyDraft>) => setDraft({ ...draft, ...change });

  const submit = async (event: Event) => {
    event.preventDefault();
    const wrong = problemsOf(draft);
    setProblems(wrong);
    setFailure(null);
    if (Object.keys(wrong).length > 0) return;
    setBusy(true);
    try {
      if (known === null) onDone(await createKey(bodyOf(draft)));
      else {
        const changes = changesOf(known, draft);
        if (Object.keys(changes).length > 0) await changeKey(known.id, changes);
        onDone(null);
      }
    } catch (error) {
      setProblems(byField(error));
      setFailure(messageOf(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Dialog
      title={known === null ? "New key" : `Change ${known.name}`}
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button variant="primary" disabled={isBusy} onClick={(event) => void submit(event)}>
            {known === null ? "Create the key" : "Save"}
          </Button>
        </>
      }
    >
      <form class="form" id={id} onSubmit={submit} noValidate>
        {failure !== null && (
          <Notice kind="error" title="The server refused this">
            {failure}
          </Notice>
        )}
        <Who draft={draft} set={set} problems={problems} isNew={known === null} />
        <Rights draft={draft} set={set} problems={problems} />
        <Limits draft={draft} set={set} problems={problems} />
        <TextArea
          label="Notes"
          rows={2}
          value={draft.metadata}
          onInput={(metadata) => set({ metadata })}
          placeholder="team=data"
          hint="name=value, one a line; stored and shown, never interpreted."
          error={problems.metadata}
        />
        <button type="submit" hidden />
      </form>
    </Dialog>
  );
}

interface PartProps {
  draft: KeyDraft;
  set: (change: Partial<KeyDraft>) => void;
  problems: Problems;
}

function Who({ draft, set, problems, isNew }: PartProps & { isNew: boolean }): JSX.Element {
  return (
    <>
      <TextField
        label="Name"
        value={draft.name}
        onInput={(name) => set({ name })}
        maxLength={128}
        error={problems.name}
        hint="For people, such as the program that uses the key."
        autofocus={isNew}
      />
      {isNew && (
        <TextField
          label="Owner"
          value={draft.owner}
          onInput={(owner) => set({ owner })}
          maxLength={64}
          error={problems.owner}
          hint="Whose tasks, files and usage the key opens; empty: its own. Can’t be changed later."
        />
      )}
    </>
  );
}

function Rights({ draft, set, problems }: PartProps): JSX.Element {
  const known = (overview.data.value?.queues ?? []).map((queue) => queue.model);
  const toggle = (scope: Scope, isOn: boolean) =>
    set({ scopes: SCOPES.filter((of) => (of === scope ? isOn : draft.scopes.includes(of))) });
  return (
    <>
      <fieldset class="field m-scopes">
        <legend class="field-label">Scopes</legend>
        {SCOPES.map((scope) => (
          <Checkbox
            key={scope}
            label={SCOPE_NAMES[scope]}
            checked={draft.scopes.includes(scope)}
            onInput={(isOn) => toggle(scope, isOn)}
          />
        ))}
        {problems.scopes && <p class="field-error">{problems.scopes}</p>}
      </fieldset>
      <TextArea
        label="Models"
        rows={2}
        value={draft.models}
        onInput={(models) => set({ models })}
        placeholder="all models"
        hint={known.length > 0 ? `One a line. Known: ${known.slice(0, 6).join(", ")}.` : "One a line."}
        error={problems.models}
      />
    </>
  );
}

function Limits({ draft, set, problems }: PartProps): JSX.Element {
  const id = useId();
  return (
    <div class="m-form-grid">
      {LIMITS.map((limit) => (
        <TextField
          key={limit}
          label={LIMIT_NAMES[limit]}
          value={draft.limits[limit]}
          onInput={(text) => set({ limits: { ...draft.limits, [limit]: text } })}
          placeholder="no limit"
          error={problems[limit]}
        />
      ))}
      <Select
        label="Most urgent lane"
        value={draft.lane}
        onInput={(lane) => set({ lane: lane as Lane })}
        options={LANES.map((lane) => ({ value: lane, label: lane }))}
        error={problems.highest_lane}
      />
      <div class="field">
        <label class="field-label" for={id}>
          Expires
        </label>
        <input
          id={id}
          class="input"
          type="datetime-local"
          value={draft.expires}
          aria-describedby={`${id}-hint`}
          aria-invalid={problems.expires_at ? true : undefined}
          onInput={(event) => set({ expires: event.currentTarget.value })}
        />
        <p class={problems.expires_at ? "field-error" : "field-hint"} id={`${id}-hint`}>
          {problems.expires_at ?? "Your local time; empty: never."}
        </p>
      </div>
    </div>
  );
}

/** Shows the text of a new key. It is not closed by a slip, because nobody can read the text again. */
export function KeyText({ created, onClose }: { created: ApiKeyWithText; onClose: () => void }): JSX.Element {
  const [isWarned, setWarned] = useState(false);
  return (
    <Dialog
      title={`The key ${created.name}`}
      size="small"
      onClose={() => (isWarned ? onClose() : setWarned(true))}
      actions={
        <>
          <Button icon="copy" onClick={() => void copyText(created.key, "The key is copied.")}>
            Copy
          </Button>
          <Button variant="primary" onClick={onClose}>
            I have stored it
          </Button>
        </>
      }
    >
      <p>Store its text now. It is shown only this once, and nobody can read it again.</p>
      <p class="m-secret">
        <code>{created.key}</code>
      </p>
      <p class="m-dim">
        {created.id}
        {created.owner !== created.id && `, owner ${created.owner}`}
      </p>
      {isWarned && (
        <p class="field-error" role="alert">
          Is the text stored? Close again to leave it.
        </p>
      )}
    </Dialog>
  );
}

/** Returns the problems that the server names, by field. */
function byField(error: unknown): Problems {
  const problems = error instanceof ApiError ? error.problems : [];
  return Object.fromEntries(problems.map(({ loc, msg }) => [String(loc[1] ?? ""), msg]));
}
