/** A form made from the JSON schema of a skill's fields. */

import { useState } from "preact/hooks";
import type { FieldSchema, Skill } from "../../api/types";
import { Select, TextArea, TextField } from "../../ui/field";
import { readField } from "../model/check";

export interface SkillFieldsProps {
  skill: Skill;
  values: Record<string, unknown>;
  onChange: (values: Record<string, unknown>) => void;
}

export function SkillFields({ skill, values, onChange }: SkillFieldsProps) {
  const fields = Object.entries(skill.schema.properties).filter(([name]) => name !== "prompt");
  if (fields.length === 0) return null;
  return (
    <fieldset class="skill-fields">
      <legend class="visually-hidden">Fields of the skill {skill.title}</legend>
      {fields.map(([name, schema]) => (
        <SkillField
          key={name}
          name={name}
          schema={schema}
          isRequired={skill.schema.required.includes(name)}
          value={values[name]}
          onChange={(value) => {
            const { [name]: _, ...others } = values;
            onChange(value === undefined ? others : { ...others, [name]: value });
          }}
        />
      ))}
    </fieldset>
  );
}

interface FieldProps {
  name: string;
  schema: FieldSchema;
  isRequired: boolean;
  value: unknown;
  onChange: (value: unknown) => void;
}

function SkillField({ name, schema, isRequired, value, onChange }: FieldProps) {
  const [typed, setTyped] = useState(() => written(value));
  const read = readField(schema, typed);
  const type = (text: string): void => {
    setTyped(text);
    const now = readField(schema, text);
    if ("value" in now) onChange(now.value);
  };
  const shared = {
    label: isRequired ? `${titled(name)} (required)` : titled(name),
    hint: schema.description && <WithCode text={schema.description} />,
    error: "problem" in read ? read.problem : null,
    value: typed,
    onInput: type,
  };
  const ofDefault = schema.default === undefined ? "" : written(schema.default);
  const choices = schema.type === "boolean" ? ["true", "false"] : schema.enum;
  if (choices) {
    const unset = isRequired ? "Choose one" : `Default (${ofDefault})`;
    return (
      <Select
        {...shared}
        options={[{ value: "", label: unset }, ...choices.map((choice) => ({ value: choice, label: choice }))]}
      />
    );
  }
  if (schema.type === "object" || (schema.maxLength ?? 0) > 500) {
    return (
      <TextArea
        {...shared}
        rows={2}
        isCode={schema.type === "object"}
        placeholder={ofDefault}
        maxLength={schema.maxLength}
      />
    );
  }
  const range = [schema.minimum, schema.maximum].some((bound) => bound !== undefined)
    ? `${schema.minimum ?? "…"} to ${schema.maximum ?? "…"}`
    : "";
  return <TextField {...shared} placeholder={ofDefault || range} maxLength={schema.maxLength} />;
}

/** Descriptions have names in backticks. */
function WithCode({ text }: { text: string }) {
  const pieces = text.split("`");
  return <>{pieces.map((piece, index) => (index % 2 === 1 ? <code key={piece}>{piece}</code> : piece))}</>;
}

/** `max_items` → "Max items". */
function titled(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function written(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
