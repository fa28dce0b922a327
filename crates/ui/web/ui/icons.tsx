/** All icons, drawn for a grid of 24 with lines of 1.75. */

const PATHS = {
  alert: "M12 8v5m0 3.5v.01M10.3 3.9 2.4 17.5A2 2 0 0 0 4.1 20.5h15.8a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0Z",
  arrowUp: "M12 19V5m-6 6 6-6 6 6",
  branch: "M6 4v10m0 0a3 3 0 1 0 0 6 3 3 0 0 0 0-6Zm12-4a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm0 0a8 8 0 0 1-8 8H9",
  camera:
    "M4 8h3l1.6-2.4h6.8L17 8h3a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9a1 1 0 0 1 1-1Zm8 8.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Z",
  chart: "M4 4v16h16M8 15l3.5-4 3 2.5L20 7",
  chat: "M20 12a7.5 7.5 0 0 1-7.5 7.5c-1.3 0-2.5-.3-3.6-.8L4 20l1.3-4.3A7.5 7.5 0 1 1 20 12Z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  chevronDown: "m6 9 6 6 6-6",
  chevronLeft: "m15 6-6 6 6 6",
  chevronRight: "m9 6 6 6-6 6",
  close: "M6 6l12 12M18 6 6 18",
  code: "m8 7-5 5 5 5m8-10 5 5-5 5",
  columns: "M4 5h16v14H4zM12 5v14",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  download: "M12 4v11m-5-4.5 5 5 5-5M5 20h14",
  edit: "M4 20h4L19 9a2.1 2.1 0 0 0-3-3L5 17v3Zm10.5-12.5 3 3",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  image: "M4 5h16v14H4zM4 16l4.5-4.5L13 16l3-3 4 4M15.5 9.5v.01",
  key: "M14.5 14a5 5 0 1 0-4.7-3.3L3 17.5V21h3.5v-2.5H9V16h2.5l1.3-1.4c.5.2 1.1.3 1.7.3ZM16 8v.01",
  menu: "M4 7h16M4 12h16M4 17h16",
  monitor: "M3 5h18v12H3zM8 21h8m-4-4v4",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5Z",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  paperclip: "m20 11.5-8.3 8.3a5.3 5.3 0 0 1-7.5-7.5l8.7-8.7a3.5 3.5 0 1 1 5 5l-8.6 8.6a1.8 1.8 0 0 1-2.5-2.5l7.7-7.7",
  pause: "M9 5v14m6-14v14",
  play: "M7 5v14l12-7z",
  plus: "M12 5v14M5 12h14",
  refresh: "M20 6v5h-5M4 18v-5h5M5.5 9.5A7.5 7.5 0 0 1 18 7l2 4M18.5 14.5A7.5 7.5 0 0 1 6 17l-2-4",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 4.5 4.5",
  settings:
    "M4 7h9m4 0h3M4 17h3m4 0h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Zm-6 10a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  stop: "M7 7h10v10H7z",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM12 2.5v2m0 15v2M4.2 4.2l1.4 1.4m12.8 12.8 1.4 1.4M2.5 12h2m15 0h2M4.2 19.8l1.4-1.4M18.4 5.6l1.4-1.4",
  system: "M12 4a8 8 0 1 0 0 16Zm0 0a8 8 0 0 1 0 16",
  tool: "M14.5 6.5a4 4 0 0 1 5-1l-2.7 2.7 1.8 1.8 2.7-2.7a4 4 0 0 1-5.6 5L9 19a2.1 2.1 0 0 1-3-3l6.7-6.7a4 4 0 0 1 1.8-2.8Z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5m4-5v5",
  upload: "M12 16V5m-5 4.5 5-5 5 5M5 20h14",
  video: "M3 6h12v12H3zM15 10.5 21 7v10l-6-3.5",
} as const;

export type IconName = keyof typeof PATHS;

/** An icon. It is decoration: the control around it has the name. */
export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  const filled = name === "stop" || name === "play";
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill={filled ? "currentColor" : "none"}
      stroke="currentColor"
      stroke-width={name === "more" ? 2.6 : 1.75}
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
