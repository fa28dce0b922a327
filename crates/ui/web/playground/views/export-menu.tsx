/** Saves a conversation as a file. */

import { useState } from "preact/hooks";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Menu } from "../../ui/menu";
import type { Conversation } from "../model/types";
import { exportJson, exportMarkdown } from "../store/transfer";

export function ExportMenu({ conversation }: { conversation: Conversation }) {
  const [explainsPdf, setExplainsPdf] = useState(false);
  return (
    <>
      <Menu
        label="Export"
        icon="download"
        items={[
          {
            label: "JSON",
            icon: "code",
            hint: "Everything, with files; can be imported",
            onSelect: () => void exportJson(conversation),
          },
          { label: "Markdown", icon: "file", hint: "The shown branch", onSelect: () => exportMarkdown(conversation) },
          {
            label: "PDF",
            icon: "download",
            hint: "By the browser's print dialog",
            onSelect: () => setExplainsPdf(true),
          },
        ]}
      />
      {explainsPdf && (
        <Dialog
          title="Save as PDF"
          size="small"
          onClose={() => setExplainsPdf(false)}
          actions={
            <>
              <Button onClick={() => setExplainsPdf(false)}>Cancel</Button>
              <Button
                variant="primary"
                onClick={() => {
                  setExplainsPdf(false);
                  setTimeout(() => print());
                }}
              >
                Print
              </Button>
            </>
          }
        >
          <p>
            Choose "Save as PDF" as the printer. The browser sets the text itself, so every script is written correctly.
          </p>
        </Dialog>
      )}
    </>
  );
}
