// Keeping what is seen: a picture as PNG, the moving picture as a video.

// MP4 first: it plays everywhere, phones included.
const TYPES = [
  "video/mp4;codecs=avc1.640028",
  "video/mp4;codecs=avc1.42E028",
  "video/webm;codecs=vp9",
  "video/webm;codecs=vp8",
  "video/webm",
  "video/mp4",
];
const BITS_PER_PIXEL = 10; // per second: 3 Mbit/s at 640x480

export const canRecord = () =>
  typeof MediaRecorder !== "undefined" && typeof HTMLCanvasElement.prototype.captureStream === "function";

/** Download the canvas as a PNG. */
export async function snapshot(canvas, name) {
  const image = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  download(image, `${name} ${now()}.png`);
}

export class Recorder {
  #recorder = null;

  get running() {
    return this.#recorder !== null;
  }

  /** Record until `stop`; the file is downloaded then, and `done` called. */
  start(canvas, name, done) {
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
    const videoBitsPerSecond = BITS_PER_PIXEL * canvas.width * canvas.height;
    const stream = canvas.captureStream();
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond });
    const parts = [];
    recorder.ondataavailable = ({ data }) => data.size && parts.push(data);
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      this.#recorder = null;
      const type = recorder.mimeType.split(";")[0];
      const ending = type.endsWith("mp4") ? "mp4" : "webm";
      if (parts.length) download(new Blob(parts, { type }), `${name} ${now()}.${ending}`);
      done(parts.length > 0);
    };
    recorder.start(1000); // parts of a second, so that a crash of the encoder loses no more
    this.#recorder = recorder;
  }

  stop() {
    if (this.#recorder?.state !== "inactive") this.#recorder?.stop();
  }
}

function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The local time as files are named: 2026-11-26 14.05.09 */
function now() {
  const time = new Date();
  const two = (value) => String(value).padStart(2, "0");
  const day = [time.getFullYear(), two(time.getMonth() + 1), two(time.getDate())].join("-");
  return `${day} ${[time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join(".")}`;
}
