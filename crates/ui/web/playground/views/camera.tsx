/** Takes a picture with the device's camera. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";

/** Browsers offer cameras on pages with TLS, and on those of the same machine. */
export async function hasCamera(): Promise<boolean> {
  if (!navigator.mediaDevices?.enumerateDevices) return false;
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.some((device) => device.kind === "videoinput");
}

export function CameraDialog({ onTake, onClose }: { onTake: (file: File) => void; onClose: () => void }) {
  const video = useRef<HTMLVideoElement>(null);
  const [state, setState] = useState<"starting" | "ready" | string>("starting");
  useEffect(() => {
    let stream: MediaStream | null = null;
    let isClosed = false;
    const stop = (): void => {
      isClosed = true;
      for (const track of stream?.getTracks() ?? []) track.stop();
    };
    navigator.mediaDevices
      .getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } })
      .then(async (opened) => {
        stream = opened;
        if (isClosed || !video.current) return stop();
        video.current.srcObject = opened;
        await video.current.play();
        setState("ready");
      })
      .catch((error: unknown) =>
        setState(`The camera can't be used: ${error instanceof Error ? error.message : String(error)}`),
      );
    return stop;
  }, []);

  const take = (): void => {
    const element = video.current;
    if (!element) return;
    const canvas = document.createElement("canvas");
    canvas.width = element.videoWidth;
    canvas.height = element.videoHeight;
    canvas.getContext("2d")?.drawImage(element, 0, 0);
    canvas.toBlob(
      (content) => {
        if (content) onTake(new File([content], "camera.jpg", { type: "image/jpeg" }));
        onClose();
      },
      "image/jpeg",
      0.92,
    );
  };

  const isReady = state === "ready";
  return (
    <Dialog
      title="Take a picture"
      onClose={onClose}
      actions={
        <Button variant="primary" icon="camera" disabled={!isReady} onClick={take}>
          Take it
        </Button>
      }
    >
      {!isReady && <p>{state === "starting" ? "Waiting for the camera…" : state}</p>}
      <video class="camera" ref={video} playsInline muted hidden={!isReady} />
    </Dialog>
  );
}
