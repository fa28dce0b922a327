/** Pictures with the marks of an answer on them, beside the list of what they are. */

import { useState } from "preact/hooks";
import { fetchFile } from "../../api/catalogue";
import { Button } from "../../ui/button";
import { saveFile } from "../../ui/copy";
import { toast } from "../../ui/toast";
import type { Item, Shape } from "../model/marks";
import type { Attachment } from "../model/types";
import { useFileUrl } from "../store/files";

export interface MarkedPicturesProps {
  items: Item[];
  pictures: Attachment[];
  /** Paths of the pictures as the server has drawn them. */
  annotated: string[];
}

export function MarkedPictures({ items, pictures, annotated }: MarkedPicturesProps) {
  const [active, setActive] = useState<number | null>(null);
  const colors = colorsOf(items);
  const hover = (index: number | null) => ({
    onPointerEnter: () => setActive(index),
    onPointerLeave: () => setActive(null),
  });
  return (
    <div class="marked">
      <div class="marked-pictures">
        {pictures.map((picture, index) => (
          <MarkedPicture
            key={picture.id}
            picture={picture}
            items={items}
            index={index}
            active={active}
            colors={colors}
            hover={hover}
          />
        ))}
      </div>
      <ol class="marked-list" aria-label="What was found">
        {items.map((item, index) => (
          <li key={index}>
            <button
              type="button"
              class={index === active ? "marked-item is-active" : "marked-item"}
              onFocus={() => setActive(index)}
              onBlur={() => setActive(null)}
              {...hover(index)}
            >
              <span class={`swatch mark-${colors[index]}`} />
              <span class="marked-label">
                {item.label}
                {item.detail && <small>{item.detail}</small>}
              </span>
              {item.shapes.length > 0 && <code>{item.shapes.map(written).join(" ")}</code>}
            </button>
          </li>
        ))}
      </ol>
      {annotated.length > 0 && (
        <div class="marked-files">
          {annotated.map((path, index) => (
            <Button key={path} size="small" icon="download" onClick={() => saveAnnotated(path, index)}>
              {annotated.length > 1 ? `Picture ${index + 1} with marks` : "Picture with marks"}
            </Button>
          ))}
        </div>
      )}
    </div>
  );
}

async function saveAnnotated(path: string, index: number): Promise<void> {
  try {
    saveFile(`annotated-${index + 1}.png`, await fetchFile(path));
  } catch (error) {
    toast({ kind: "error", text: error instanceof Error ? error.message : String(error) });
  }
}

/** Smaller pictures are enlarged, so that their marks can be told apart. */
const LEAST_WIDTH = 320;

interface MarkedPictureProps {
  picture: Attachment;
  items: Item[];
  index: number;
  active: number | null;
  colors: number[];
  hover: (index: number) => { onPointerEnter: () => void; onPointerLeave: () => void };
}

function MarkedPicture({ picture, items, index, active, colors, hover }: MarkedPictureProps) {
  const url = useFileUrl(picture.id);
  const { width, height } = picture;
  if (!url || !width || !height) return <p class="answer-note">{picture.name} can't be shown in this browser.</p>;
  // Lines and points keep their size on the page, whatever the size of the picture.
  const unit = Math.max(width, height) / 640;
  return (
    <figure class="marked-picture" style={{ width: `${Math.max(width, LEAST_WIDTH)}px` }}>
      <img src={url} alt={picture.name} width={width} height={height} />
      <svg viewBox={`0 0 ${width} ${height}`} class={active === null ? "marks" : "marks has-active"} aria-hidden="true">
        {items.map((item, at) =>
          item.picture === index ? (
            <g key={at} class={`mark mark-${colors[at]} ${at === active ? "is-active" : ""}`} {...hover(at)}>
              {item.shapes.map((shape, order) => (
                <ShapeMark key={order} shape={shape} unit={unit} />
              ))}
            </g>
          ) : null,
        )}
      </svg>
    </figure>
  );
}

function ShapeMark({ shape, unit }: { shape: Shape; unit: number }) {
  switch (shape.kind) {
    case "box": {
      const [left, top, right, bottom] = shape.box;
      return <rect x={left} y={top} width={right - left} height={bottom - top} rx={2 * unit} />;
    }
    case "point":
      return <circle cx={shape.point[0]} cy={shape.point[1]} r={7 * unit} />;
    case "polygon":
      return <polygon points={shape.corners.map((corner) => corner.join(",")).join(" ")} />;
    case "arrow":
      return (
        <>
          <line x1={shape.from[0]} y1={shape.from[1]} x2={shape.to[0]} y2={shape.to[1]} />
          <circle cx={shape.to[0]} cy={shape.to[1]} r={7 * unit} />
        </>
      );
  }
}

const COLORS = 8;

/** The same color for the same label. */
function colorsOf(items: Item[]): number[] {
  const labels = Array.from(new Set(items.map((item) => item.label)));
  return items.map((item) => labels.indexOf(item.label) % COLORS);
}

function written(shape: Shape): string {
  return numbersOf(shape).map(Math.round).join(", ");
}

function numbersOf(shape: Shape): number[] {
  switch (shape.kind) {
    case "box":
      return shape.box;
    case "point":
      return shape.point;
    case "polygon":
      return shape.corners.flat();
    case "arrow":
      return [...shape.from, ...shape.to];
  }
}
