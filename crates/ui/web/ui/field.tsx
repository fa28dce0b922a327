/** Fields of forms: each has its label, and optionally a hint and an error. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  error?: string | null;
  /** Shows the label to screen readers only. */
  hideLabel?: boolean;
}

interface FrameProps extends FieldProps {
  id: string;
  children: ComponentChildren;
}

function Frame({ id, label, hint, error, hideLabel, children }: FrameProps) {
  return (
    <div class="field">
      <label class={hideLabel ? "visually-hidden" : "field-label"} for={id}>
        {label}
      </label>
      {children}
      {hint && (
        <p class="field-hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

function describedBy(id: string, { hint, error }: FieldProps): string | undefined {
  const ids = [hint ? `${id}-hint` : "", error ? `${id}-error` : ""].filter(Boolean);
  return ids.length > 0 ? ids.join(" ") : undefined;
}

export interface TextFieldProps extends FieldProps {
  value: string;
  onInput: (value: string) => void;
  type?: "text" | "password" | "search";
  placeholder?: string;
  autocomplete?: string;
  maxLength?: number;
  required?: boolean;
  autofocus?: boolean;
}

export function TextField({ value, onInput, type = "text", autofocus, ...rest }: TextFieldProps) {
  const id = useId();
  return (
    <Frame id={id} {...rest}>
      <input
        id={id}
        class="input"
        // The types of Preact want one literal.
        type={type as "text"}
        value={value}
        placeholder={rest.placeholder}
        autocomplete={rest.autocomplete ?? "off"}
        maxLength={rest.maxLength}
        required={rest.required}
        spellcheck={false}
        aria-invalid={rest.error ? true : undefined}
        aria-describedby={describedBy(id, rest)}
        ref={autofocus ? focusOnce : undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </Frame>
  );
}

function focusOnce(element: HTMLElement | null): void {
  element?.focus({ preventScroll: true });
}

export interface TextAreaProps extends FieldProps {
  value: string;
  onInput: (value: string) => void;
  placeholder?: string;
  rows?: number;
  maxLength?: number;
  isCode?: boolean;
}

export function TextArea({ value, onInput, rows = 3, isCode, ...rest }: TextAreaProps) {
  const id = useId();
  return (
    <Frame id={id} {...rest}>
      <textarea
        id={id}
        class={isCode ? "input textarea code" : "input textarea"}
        rows={rows}
        value={value}
        placeholder={rest.placeholder}
        maxLength={rest.maxLength}
        spellcheck={!isCode}
        aria-invalid={rest.error ? true : undefined}
        aria-describedby={describedBy(id, rest)}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </Frame>
  );
}

export interface NumberFieldProps extends FieldProps {
  value: number | undefined;
  /** Called with `undefined` when the field is emptied or is not a number within the bounds. */
  onInput: (value: number | undefined) => void;
  min?: number;
  max?: number;
  step?: number | "any";
  placeholder?: string;
}

export function NumberField({ value, onInput, min, max, step = "any", ...rest }: NumberFieldProps) {
  const id = useId();
  return (
    <Frame id={id} {...rest}>
      <input
        id={id}
        class="input"
        type="number"
        inputMode="decimal"
        value={value ?? ""}
        min={min}
        max={max}
        step={step}
        placeholder={rest.placeholder}
        aria-invalid={rest.error ? true : undefined}
        aria-describedby={describedBy(id, rest)}
        onInput={(event) => {
          const input = event.currentTarget;
          onInput(input.value !== "" && input.validity.valid ? input.valueAsNumber : undefined);
        }}
      />
    </Frame>
  );
}

export interface SelectProps extends FieldProps {
  value: string;
  onInput: (value: string) => void;
  options: { value: string; label: string; disabled?: boolean }[];
}

export function Select({ value, onInput, options, ...rest }: SelectProps) {
  const id = useId();
  return (
    <Frame id={id} {...rest}>
      <select
        id={id}
        class="input select"
        value={value}
        aria-invalid={rest.error ? true : undefined}
        aria-describedby={describedBy(id, rest)}
        onInput={(event) => onInput(event.currentTarget.value)}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value} disabled={option.disabled} selected={option.value === value}>
            {option.label}
          </option>
        ))}
      </select>
    </Frame>
  );
}

export interface CheckboxProps {
  label: ComponentChildren;
  checked: boolean;
  onInput: (checked: boolean) => void;
  hint?: string;
}

export function Checkbox({ label, checked, onInput, hint }: CheckboxProps) {
  const id = useId();
  return (
    <div class="field">
      <label class="checkbox">
        <input
          type="checkbox"
          checked={checked}
          aria-describedby={hint ? id : undefined}
          onInput={(event) => onInput(event.currentTarget.checked)}
        />
        <span>{label}</span>
      </label>
      {hint && (
        <p class="field-hint" id={id}>
          {hint}
        </p>
      )}
    </div>
  );
}

export interface SegmentedProps<T extends string> {
  label: string;
  value: T;
  onInput: (value: T) => void;
  options: { value: T; label: string }[];
  hideLabel?: boolean;
}

/** A choice of two to four, all visible. */
export function Segmented<T extends string>({ label, value, onInput, options, hideLabel }: SegmentedProps<T>) {
  const name = useId();
  return (
    <fieldset class="field segmented-field">
      <legend class={hideLabel ? "visually-hidden" : "field-label"}>{label}</legend>
      <div class="segmented">
        {options.map((option) => (
          <label key={option.value} class="segment">
            <input
              type="radio"
              class="visually-hidden"
              name={name}
              checked={option.value === value}
              onChange={() => onInput(option.value)}
            />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
