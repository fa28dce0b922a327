/** Moves the focus into a drawer while it is open, and back to where it was. */

import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";

export function useFocusWithin(drawer: RefObject<HTMLElement | null>, isOpen: boolean): void {
  useEffect(() => {
    if (!isOpen) return;
    const before = document.activeElement as HTMLElement | null;
    // Elements of a drawer that slides in can't have the focus before it is visible.
    requestAnimationFrame(() => {
      if (!drawer.current?.contains(document.activeElement))
        drawer.current?.querySelector<HTMLElement>("button")?.focus();
    });
    return () => {
      if (drawer.current?.contains(document.activeElement) ?? true) before?.focus();
    };
  }, [drawer, isOpen]);
}
