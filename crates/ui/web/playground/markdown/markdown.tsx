/** Shows an answer's Markdown. */

import { useMemo } from "preact/hooks";
import { IconButton } from "../../ui/button";
import { copyText } from "../../ui/copy";
import { type Block, toBlocks } from "./render";

export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => toBlocks(text), [text]);
  return (
    <div class="markdown">
      {blocks.map((block, index) =>
        block.kind === "code" ? (
          <CodeBlock key={index} language={block.language} text={block.text} />
        ) : (
          <HtmlBlock key={index} block={block} />
        ),
      )}
    </div>
  );
}

function HtmlBlock({ block }: { block: Extract<Block, { kind: "html" }> }) {
  const html = useMemo(() => block.html(), [block.source]);
  return <div class="markdown-block" dangerouslySetInnerHTML={{ __html: html }} />;
}

/** Code, with a button that copies it. */
export function CodeBlock({ language, text }: { language: string; text: string }) {
  return (
    <figure class="code-block">
      <figcaption>
        <span>{language || "text"}</span>
        <IconButton icon="copy" size="small" label="Copy code" onClick={() => copyText(text)} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls sideways, also by keyboard. */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}
