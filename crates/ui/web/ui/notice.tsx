/** A card that tells about a problem or a fact, and what to do about it. */

import type { ComponentChildren } from "preact";
import { Icon } from "./icons";

export interface NoticeProps {
  kind: "info" | "warning" | "error";
  title: string;
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

export function Notice({ kind, title, children, actions }: NoticeProps) {
  return (
    <div class={`notice notice-${kind}`} role={kind === "error" ? "alert" : "note"}>
      <Icon name="alert" />
      <div class="notice-content">
        <p class="notice-title">{title}</p>
        {children && <div class="notice-text">{children}</div>}
        {actions && <div class="notice-actions">{actions}</div>}
      </div>
    </div>
  );
}

export interface EmptyProps {
  title: string;
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

/** Stands where a list is empty. */
export function Empty({ title, children, actions }: EmptyProps) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children && <p class="empty-text">{children}</p>}
      {actions}
    </div>
  );
}
