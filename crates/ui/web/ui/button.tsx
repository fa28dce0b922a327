/** Buttons. */

import type { ComponentChildren, Ref } from "preact";
import { Icon, type IconName } from "./icons";

export interface ButtonProps {
  children: ComponentChildren;
  onClick?: (event: MouseEvent) => void;
  /** One primary button a view. */
  variant?: "primary" | "secondary" | "ghost" | "danger";
  size?: "small" | "normal";
  icon?: IconName;
  type?: "button" | "submit";
  disabled?: boolean;
  title?: string;
}

export function Button({
  children,
  variant = "secondary",
  size = "normal",
  icon,
  type = "button",
  ...rest
}: ButtonProps) {
  return (
    <button type={type} class={`button button-${variant} button-${size}`} {...rest}>
      {icon && <Icon name={icon} size={size === "small" ? 16 : 18} />}
      <span>{children}</span>
    </button>
  );
}

export interface IconButtonProps {
  icon: IconName;
  /** The name that screen readers and the tooltip have. */
  label: string;
  onClick?: (event: MouseEvent) => void;
  variant?: "ghost" | "primary" | "danger";
  size?: "small" | "normal";
  type?: "button" | "submit";
  disabled?: boolean;
  /** For switches: whether it is on. */
  pressed?: boolean;
  expanded?: boolean;
  controls?: string;
  buttonRef?: Ref<HTMLButtonElement>;
}

export function IconButton(props: IconButtonProps) {
  const { icon, label, variant = "ghost", size = "normal", type = "button" } = props;
  return (
    <button
      ref={props.buttonRef}
      type={type}
      class={`icon-button icon-button-${variant} icon-button-${size}`}
      aria-label={label}
      title={label}
      disabled={props.disabled}
      onClick={props.onClick}
      aria-pressed={props.pressed}
      aria-expanded={props.expanded}
      aria-controls={props.controls}
    >
      <Icon name={icon} size={size === "small" ? 16 : 18} />
    </button>
  );
}
