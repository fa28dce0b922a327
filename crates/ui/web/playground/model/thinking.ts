/** Splits off what a model thought, for answers that the server did not split because nothing asked for it. */

export function splitThinking(text: string): { reasoning: string; text: string; isOpen: boolean } {
  const start = /^\s*<think>/.exec(text);
  const end = text.indexOf("</think>");
  // Templates may open the tag in the prompt, so that the answer has only its end.
  if (end >= 0) {
    const from = start ? start[0].length : 0;
    return {
      reasoning: text.slice(from, end).trim(),
      text: text.slice(end + "</think>".length).trimStart(),
      isOpen: false,
    };
  }
  if (start) return { reasoning: text.slice(start[0].length).trim(), text: "", isOpen: true };
  return { reasoning: "", text, isOpen: false };
}
