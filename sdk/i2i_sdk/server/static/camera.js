// The camera: opening it, the list of them, and what to do when there is none.

import { Source } from "./source.js";

const WISHES = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };

/** wanted: {deviceId} or {facingMode}. -> {source, deviceId, facing}; throws what `explain` explains. */
export async function openCamera(video, wanted, onend) {
  if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("no mediaDevices", "InsecureContext");
  const { deviceId: exact } = wanted;
  const which = exact ? { deviceId: { exact } } : { facingMode: wanted.facingMode };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...which, ...WISHES } });
  const [track] = stream.getVideoTracks();
  track.onended = onend; // unplugged, or taken away; not when stopped by us
  video.srcObject = stream;
  const stop = () => {
    track.onended = null;
    track.stop();
    video.srcObject = null;
  };
  try {
    await video.play();
  } catch (error) {
    stop();
    throw error;
  }
  const { deviceId, facingMode } = track.getSettings();
  return { source: new Source("camera", track.label, video, stop), deviceId, facing: facingMode ?? "user" };
}

/** The cameras, with names once one was allowed -> [{id, name}]. */
export async function listCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  return cameras.map(({ deviceId, label }, index) => ({ id: deviceId, name: label || `Camera ${index + 1}` }));
}

/** Has the person allowed the camera before, so that it may start by itself? */
export async function isAllowed() {
  const permission = await navigator.permissions?.query({ name: "camera" }).catch(() => null);
  return permission?.state === "granted";
}

/** An error of openCamera -> {title, text} for a person. */
export function explain(error) {
  if (error.name === "InsecureContext") {
    return {
      title: "The camera needs a secure page",
      text:
        "Browsers give the camera to https:// and localhost pages only. Start the server with " +
        "`i2i serve … --host 0.0.0.0 --tls-self-signed` and open its https:// address. " +
        "Pictures and videos work here, too.",
    };
  }
  if (error.name === "NotAllowedError" || error.name === "SecurityError") {
    return {
      title: "The camera is blocked",
      text:
        "Allow the camera for this page in the browser's address bar, and for the browser in the system's " +
        "settings. Then try again.",
    };
  }
  if (error.name === "NotFoundError" || error.name === "OverconstrainedError") {
    return { title: "No camera found", text: "Plug one in and try again, or open a picture or a video." };
  }
  if (error.name === "NotReadableError" || error.name === "AbortError") {
    return { title: "The camera is busy", text: "Another program seems to use it. Close that one and try again." };
  }
  return { title: "The camera does not start", text: `The browser says: ${error.message || error.name}.` };
}
