/** The frame of all pages: the bar at the top, and the page that the address names. */

import { useEffect, useState } from "preact/hooks";
import { Monitor } from "./monitor/index";
import { Playground } from "./playground/index";
import { forgetKey, keys, type Role } from "./state/keys";
import { hrefOf, route } from "./state/route";
import { setTheme, type Theme, theme } from "./state/theme";
import { Icon, type IconName } from "./ui/icons";
import { KeyDialog, KeyGate, RefusedKeyDialog } from "./ui/key-gate";
import { Menu, type MenuItem } from "./ui/menu";
import { Toasts } from "./ui/toast";

const THEMES: { value: Theme; label: string; icon: IconName }[] = [
  { value: "system", label: "System theme", icon: "system" },
  { value: "light", label: "Light theme", icon: "sun" },
  { value: "dark", label: "Dark theme", icon: "moon" },
];

export function Shell() {
  const [place, ...path] = route.value;
  const isMonitor = place === "monitor";
  const role: Role = isMonitor ? "admin" : "client";
  useEffect(() => {
    document.title = isMonitor ? "Monitor · qwen-queue" : "Playground · qwen-queue";
  }, [isMonitor]);
  return (
    <div class="shell">
      <button type="button" class="skip-link" onClick={() => document.getElementById("content")?.focus()}>
        Skip to content
      </button>
      <TopBar role={role} />
      <div class="shell-page" id="content" tabIndex={-1}>
        <KeyGate role={role} key={role}>
          {isMonitor ? <Monitor path={path} /> : <Playground path={path} />}
        </KeyGate>
      </div>
      <RefusedKeyDialog role={role} />
      <Toasts />
    </div>
  );
}

function TopBar({ role }: { role: Role }) {
  const [asksKey, setAsksKey] = useState(false);
  const hasKey = keys[role].value !== null;
  const keyItems: MenuItem[] = [
    { label: hasKey ? "Use another key" : "Enter a key", icon: "key", onSelect: () => setAsksKey(true) },
    ...(hasKey ? [{ label: "Forget the key", icon: "trash" as const, onSelect: () => forgetKey(role) }] : []),
  ];
  return (
    <header class="top-bar">
      <a class="brand" href={hrefOf()} aria-label="qwen-queue, playground">
        <img src="icon.svg" alt="" width="24" height="24" />
        <span>qwen-queue</span>
      </a>
      <nav class="top-nav" aria-label="Main">
        <NavLink href={hrefOf("chat")} icon="chat" isCurrent={role === "client"} label="Playground" />
        <NavLink href={hrefOf("monitor")} icon="chart" isCurrent={role === "admin"} label="Monitor" />
      </nav>
      <div class="top-actions">
        <Menu
          label="Theme"
          icon={theme.value === "light" ? "sun" : theme.value === "dark" ? "moon" : "system"}
          items={THEMES.map(({ value, label, icon }) => ({
            label,
            icon,
            checked: theme.value === value,
            onSelect: () => setTheme(value),
          }))}
        />
        <Menu label="API key" icon="key" items={keyItems} />
      </div>
      {asksKey && <KeyDialog role={role} onClose={() => setAsksKey(false)} />}
    </header>
  );
}

function NavLink({
  href,
  icon,
  label,
  isCurrent,
}: {
  href: string;
  icon: IconName;
  label: string;
  isCurrent: boolean;
}) {
  return (
    <a class="nav-link" href={href} aria-current={isCurrent ? "page" : undefined}>
      <Icon name={icon} size={16} />
      <span>{label}</span>
    </a>
  );
}
