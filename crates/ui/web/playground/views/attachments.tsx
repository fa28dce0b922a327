/** Files of a question as tiles, and how files become attachments. */

import { newId } from "../../state/ids";
import { IconButton } from "../../ui/button";
import { bytes } from "../../ui/format";
import { Icon } from "../../ui/icons";
import { toast } from "../../ui/toast";
import type { Attachment } from "../model/types";
import { keepFile, useFileUrl } from "../store/files";

export const ACCEPTED = "image/png,image/jpeg,image/webp,image/gif,image/bmp,video/*,.mkv,.avi";

/** Keeps files that are pictures or videos, and tells of others. */
export async function attach(files: Iterable<File>): Promise<Attachment[]> {
  const made = await Promise.all(Array.from(files, attachOne));
  return made.filter((one) => one !== null);
}

async function attachOne(file: File): Promise<Attachment | null> {
  const kind = kindOf(file);
  if (kind === null) {
    toast({ kind: "error", text: `${file.name} is neither a picture (PNG, JPEG, WebP, GIF, BMP) nor a video.` });
    return null;
  }
  const size = kind === "image" ? await pictureSize(file) : {};
  const attachment: Attachment = {
    id: newId(),
    kind,
    name: file.name || `pasted.${kind}`,
    type: file.type,
    size: file.size,
    ...size,
  };
  await keepFile(attachment.id, file);
  return attachment;
}

function kindOf({ type, name }: File): Attachment["kind"] | null {
  if (type.startsWith("image/") && type !== "image/svg+xml") return "image";
  // Some browsers don't know the types of these containers.
  return type.startsWith("video/") || /\.(mkv|avi|mov|mp4|webm)$/i.test(name) ? "video" : null;
}

/** The size as it is shown: turned upright by the EXIF orientation, as the server does. */
async function pictureSize(file: File): Promise<{ width?: number; height?: number }> {
  try {
    const bitmap = await createImageBitmap(file);
    const { width, height } = bitmap;
    bitmap.close();
    return { width, height };
  } catch {
    return {};
  }
}

export function AttachmentTile({
  attachment,
  onRemove,
  isLarge,
}: {
  attachment: Attachment;
  onRemove?: () => void;
  isLarge?: boolean;
}) {
  const url = useFileUrl(attachment.id);
  const { kind, name, size } = attachment;
  return (
    <div class={isLarge ? "tile tile-large" : "tile"} title={`${name}, ${bytes(size)}`}>
      {kind === "image" && url && <img src={url} alt={name} width={attachment.width} height={attachment.height} />}
      {kind === "video" && url && isLarge && (
        // biome-ignore lint/a11y/useMediaCaption: the user's own file has no captions.
        <video src={url} controls preload="metadata" aria-label={name} />
      )}
      {(!url || (kind === "video" && !isLarge)) && (
        <span class="tile-name">
          <Icon name={kind} size={16} />
          <span>{name}</span>
        </span>
      )}
      {onRemove && (
        <span class="tile-remove">
          <IconButton icon="close" size="small" label={`Remove ${name}`} onClick={onRemove} />
        </span>
      )}
    </div>
  );
}
