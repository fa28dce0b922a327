/** Menus that a button opens. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { IconButton } from "./button";
import { Icon, type IconName } from "./icons";

export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect: () => void;
  isDangerous?: boolean;
  /** For menus of choices: whether this is the chosen one. */
  checked?: boolean;
  hint?: ComponentChildren;
}

export interface MenuProps {
  label: string;
  icon: IconName;
  items: MenuItem[];
  size?: "small" | "normal";
  /** The edge of the button that the menu is aligned with. */
  align?: "start" | "end";
  /** Opens upwards, for menus at the bottom of the page. */
  isUpward?: boolean;
}

export function Menu({ label, icon, items, size, align = "end", isUpward }: MenuProps) {
  const [isOpen, setOpen] = useState(false);
  const frame = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();

  // Before the next key is handled, which may be an arrow.
  useLayoutEffect(() => {
    if (!isOpen) return;
    const closeOutside = (event: PointerEvent): void => {
      if (!frame.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", closeOutside);
    entries(frame.current)[0]?.focus();
    return () => removeEventListener("pointerdown", closeOutside);
  }, [isOpen]);

  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (!isOpen) return;
    const all = entries(frame.current);
    const at = all.indexOf(document.activeElement as HTMLElement);
    const target = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (target !== undefined) {
      event.preventDefault();
      all[(target + all.length) % all.length]?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") setOpen(false);
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: moves the focus among the buttons within.
    <div class="menu" ref={frame} onKeyDown={onKeyDown}>
      <IconButton
        icon={icon}
        label={label}
        size={size}
        buttonRef={button}
        expanded={isOpen}
        controls={id}
        onClick={() => setOpen(!isOpen)}
      />
      <div
        id={id}
        class={`menu-list menu-${align} ${isUpward ? "menu-upward" : ""}`}
        role="menu"
        aria-label={label}
        hidden={!isOpen}
      >
        {isOpen &&
          items.map((item) => (
            <button
              key={item.label}
              type="button"
              {...(item.checked === undefined
                ? { role: "menuitem" as const }
                : { role: "menuitemradio" as const, "aria-checked": item.checked })}
              class={item.isDangerous ? "menu-item menu-item-danger" : "menu-item"}
              onClick={() => {
                close();
                item.onSelect();
              }}
            >
              {item.icon && <Icon name={item.icon} size={16} />}
              <span class="menu-item-text">
                {item.label}
                {item.hint && <small>{item.hint}</small>}
              </span>
              {item.checked && <Icon name="check" size={16} />}
            </button>
          ))}
      </div>
    </div>
  );
}

function entries(frame: HTMLElement | null): HTMLElement[] {
  return Array.from(frame?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? []);
}
