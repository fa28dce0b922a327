/** A word about a state, with a dot of its color. */
export function Badge({
  kind,
  children,
}: {
  kind: "neutral" | "good" | "busy" | "warning" | "error";
  children: string;
}) {
  return <span class={`badge badge-${kind}`}>{children}</span>;
}
