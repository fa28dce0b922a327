/** One key with all its fields, and what an operator can do to it. */

import type { JSX } from "preact";
import { Button } from "../ui/button";
import { changeKey, revokeKey, rotateKey } from "./api";
import { count, dateTime } from "./format";
import { LIMIT_NAMES } from "./key-draft";
import { keyState } from "./key-state";
import { now } from "./live";
import { act, ask, Fact, Facts, Id, Panel, StateBadge } from "./parts";
import { type ApiKey, type ApiKeyWithText, LIMITS } from "./replies";

interface Props {
  of: ApiKey;
  onEdit: () => void;
  /** Gets the key with its new text. */
  onText: (key: ApiKeyWithText) => void;
  /** Called after a change. */
  onChange: () => void;
  onClose: () => void;
}

export function KeyView({ of, onEdit, onText, onChange, onClose }: Props): JSX.Element {
  const block = async () => {
    if (!(await ask(blockQuestion(of)))) return;
    const done = `${of.name} is ${of.blocked ? "unblocked" : "blocked"}.`;
    await act(() => changeKey(of.id, { blocked: !of.blocked }), done);
    onChange();
  };
  const rotate = async () => {
    const isSure = await ask({
      title: `Rotate ${of.name}?`,
      text: "The key gets a new text, which is shown once. The old one is refused within a second.",
      action: "Rotate",
      isDanger: true,
    });
    if (!isSure) return;
    const rotated = await act(() => rotateKey(of.id), `${of.name} is rotated.`);
    if (rotated) onText(rotated);
    onChange();
  };
  const revoke = async () => {
    const isSure = await ask({
      title: `Revoke ${of.name}?`,
      text: `The key ${of.prefix}… of ${of.owner} is deleted for good and refused within a second. Its owner’s tasks remain.`,
      action: "Revoke",
      isDanger: true,
    });
    if (!isSure) return;
    const revoked = await act(() => revokeKey(of.id), `${of.name} is revoked.`);
    if (revoked) onClose();
    onChange();
  };
  return (
    <Panel
      title={of.name}
      state={<StateBadge state={keyState(of, now.value)} />}
      onClose={onClose}
      actions={
        <>
          <Button size="small" icon="edit" onClick={onEdit}>
            Change
          </Button>
          <Button size="small" onClick={() => void block()}>
            {of.blocked ? "Unblock" : "Block"}
          </Button>
          <Button size="small" icon="refresh" onClick={() => void rotate()}>
            Rotate
          </Button>
          <Button size="small" icon="trash" onClick={() => void revoke()}>
            Revoke
          </Button>
        </>
      }
    >
      <Fields of={of} />
    </Panel>
  );
}

function Fields({ of }: { of: ApiKey }): JSX.Element {
  const limits = LIMITS.filter((limit) => of[limit] !== null);
  return (
    <Facts>
      <Fact name="Id">
        <Id id={of.id} isWhole />
      </Fact>
      <Fact name="Text">
        <span class="m-mono">{of.prefix}…</span>
      </Fact>
      <Fact name="Owner">{of.owner === of.id ? "itself" : of.owner}</Fact>
      <Fact name="Scopes">{of.scopes.join(", ")}</Fact>
      <Fact name="Models">{of.models.length === 0 ? "all" : of.models.join(", ")}</Fact>
      <Fact name="Most urgent lane">{of.highest_lane}</Fact>
      {limits.map((limit) => (
        <Fact key={limit} name={LIMIT_NAMES[limit]}>
          {count(of[limit] ?? 0)}
        </Fact>
      ))}
      {limits.length === 0 && <Fact name="Limits">none</Fact>}
      <Fact name="Created">{dateTime(of.created_at)}</Fact>
      <Fact name="Last used">{of.last_used_at === null ? "never" : dateTime(of.last_used_at)}</Fact>
      <Fact name="Expires">{of.expires_at === null ? "never" : dateTime(of.expires_at)}</Fact>
      {Object.entries(of.metadata).map(([name, value]) => (
        <Fact key={`note ${name}`} name={name}>
          {value}
        </Fact>
      ))}
    </Facts>
  );
}

function blockQuestion(of: ApiKey) {
  if (of.blocked) {
    return { title: `Unblock ${of.name}?`, text: "The key is accepted again within a second.", action: "Unblock" };
  }
  return {
    title: `Block ${of.name}?`,
    text: "The key is refused within a second, and its open streams end, until you unblock it. Its tasks continue.",
    action: "Block",
    isDanger: true,
  };
}
