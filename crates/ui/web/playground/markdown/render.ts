/**
 * Markdown of models as safe HTML. Markup in an answer is text: it is escaped when it is rendered, and what is left goes
 * through DOMPurify, so that a mistake in one of the two is not enough.
 */

import DOMPurify from "dompurify";
import { Marked, type Token } from "marked";

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    // A remote image would tell its server who reads the answer.
    image({ href, title, text }) {
      const label = escaped(text || title || href);
      return href.startsWith("data:image/")
        ? `<img src="${escaped(href)}" alt="${label}">`
        : `<a href="${escaped(href)}">${label}</a>`;
    },
  },
});

/** A block of an answer: code, or HTML of anything else. */
export type Block =
  | { kind: "code"; language: string; text: string }
  | { kind: "html"; source: string; html: () => string };

/** Splits an answer into blocks. Only the last ones change while it grows, so the page redraws only those. */
export function toBlocks(text: string): Block[] {
  const tokens = marked.lexer(text);
  return tokens.filter((token) => token.type !== "space" && token.type !== "def").map(toBlock);
}

function toBlock(token: Token): Block {
  if (token.type === "code")
    return { kind: "code", language: (token.lang ?? "").split(/\s/)[0] ?? "", text: token.text };
  return { kind: "html", source: token.raw, html: () => sanitized(marked.parser([token])) };
}

const ALLOWED = {
  ALLOWED_TAGS:
    "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr img li ol p pre strong table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["href", "title", "src", "alt", "start", "align", "target", "rel"],
  ALLOW_DATA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

function sanitized(html: string): string {
  return DOMPurify.sanitize(html, ALLOWED);
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
