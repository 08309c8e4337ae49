// Where frames come from: a camera, a video file or a picture, all with the same face.

import { newCanvas } from "./geometry.js";

const LONGEST_SIDE = 1280; // of a frame: more is not seen on a page, and costs time

/** A source calls `onframe(time)` when it has a new frame; `grab` gives the newest. */
export class Source {
  #element;
  #stop;
  #canvas = null;
  #stopped = false;

  /** kind: "camera", "video" or "picture"; element: a playing <video>, or an ImageBitmap. */
  constructor(kind, name, element, stop) {
    [this.kind, this.name, this.#element, this.#stop] = [kind, name, element, stop];
  }

  watch(onframe) {
    if (this.kind === "picture") onframe(performance.now());
    else watchVideo(this.#element, (time) => !this.#stopped && (onframe(time), true));
  }

  /** The newest frame as an ImageBitmap, mirrored if wanted. */
  grab(mirrored) {
    const { width, height } = this.#size();
    if (this.#canvas?.width !== width || this.#canvas.height !== height) this.#canvas = newCanvas(width, height);
    const context = this.#canvas.getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? width : 0, 0);
    context.drawImage(this.#element, 0, 0, width, height);
    return this.#canvas.transferToImageBitmap ? this.#canvas.transferToImageBitmap() : createImageBitmap(this.#canvas);
  }

  stop() {
    this.#stopped = true;
    this.#stop();
  }

  #size() {
    const width = this.#element.videoWidth ?? this.#element.width;
    const height = this.#element.videoHeight ?? this.#element.height;
    const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
    const side = (length) => {
      const scaled = Math.max(2, Math.round(length * scale));
      return this.kind === "picture" ? scaled : scaled - (scaled % 2); // video encoders take even sides only
    };
    return { width: side(width), height: side(height) };
  }
}

/** A dropped or chosen file -> Source; throws an Error that says what is wrong with it. */
export async function openFile(file, video) {
  if (file.type.startsWith("image/")) {
    const picture = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name} cannot be opened: this browser does not know its format.`);
    });
    return new Source("picture", file.name, picture, () => picture.close());
  }
  const address = URL.createObjectURL(file);
  const release = () => {
    video.pause();
    video.removeAttribute("src");
    video.load();
    URL.revokeObjectURL(address);
  };
  video.srcObject = null;
  video.loop = true;
  video.src = address;
  try {
    await video.play();
    if (!video.videoWidth) throw new Error("no picture");
  } catch {
    release();
    throw new Error(`${file.name} cannot be played: a picture, or a video that this browser can play, is needed.`);
  }
  return new Source("video", file.name, video, release);
}

/** Call `tell(time)` for every frame that the video shows, until it returns false. */
function watchVideo(video, tell) {
  if (!video.requestVideoFrameCallback) return watchClock(video, tell);
  const next = (now, { captureTime }) => {
    const known = captureTime > 0 && captureTime <= now && now - captureTime < 5000;
    if (tell(known ? captureTime : now)) video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
  return undefined;
}

/** For browsers that do not tell of frames: look at the video's clock. */
function watchClock(video, tell) {
  let last = -1;
  const look = (now) => {
    const isNew = video.currentTime !== last;
    last = video.currentTime;
    if (!isNew || tell(now)) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
