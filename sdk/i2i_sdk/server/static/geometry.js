// How a frame meets a model's size: the arithmetic of the SDK's frames.py, so that a picture made here is the one
// that Python makes. A box is {top, left, height, width} in pixels.

/** A canvas that is not on the page; older browsers have none outside of the document. */
export function newCanvas(width, height) {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** Where a frame goes on the model's canvas -> {source, target, fill}; throws for a fit that is unknown here. */
export function place(frame, model, fit) {
  const whole = { top: 0, left: 0, height: frame.height, width: frame.width };
  const canvas = { top: 0, left: 0, height: model.height, width: model.width };
  const ratios = [model.height / frame.height, model.width / frame.width];
  if (fit === "resize") return { source: whole, target: canvas, fill: "none" };
  if (fit === "letterbox") {
    const scale = Math.min(...ratios);
    return { source: whole, target: centered(canvas, frame.height * scale, frame.width * scale), fill: "gray" };
  }
  if (fit === "crop") {
    const scale = Math.max(...ratios);
    return { source: centered(whole, model.height / scale, model.width / scale), target: canvas, fill: "none" };
  }
  if (fit === "pad") {
    if (Math.min(...ratios) < 1) {
      const [most, given] = [model, frame].map(({ width, height }) => `${width}×${height}`);
      throw new Error(`Frames of at most ${most} fit this model; this one has ${given}.`);
    }
    return { source: whole, target: centered(canvas, frame.height, frame.width), fill: "reflect" };
  }
  throw new Error(`This model's fit, “${fit}”, is done on the server only.`);
}

/**
 * Draw the box `source` of a picture at the model's size, by averaging: plain bilinear shrinking skips pixels
 * and gives other pictures. It goes linearly to 2, 4, 8 … times the target and is then halved, as in frames.py.
 */
export class Shrinker {
  #canvases = [];

  /** -> a canvas of target.width x target.height, valid until the next call. */
  draw(picture, source, target) {
    let [rows, columns] = [blocks(source.height / target.height), blocks(source.width / target.width)];
    let step = 0;
    let canvas = this.#canvas(step, columns * target.width, rows * target.height);
    const { left, top, width, height } = source;
    context(canvas).drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
    while (rows > 1 || columns > 1) {
      [rows, columns] = [Math.max(1, rows / 2), Math.max(1, columns / 2)];
      const halved = this.#canvas(++step, columns * target.width, rows * target.height);
      context(halved).drawImage(canvas, 0, 0, halved.width, halved.height);
      canvas = halved;
    }
    return canvas;
  }

  #canvas(step, width, height) {
    const known = this.#canvases[step];
    if (known?.width === width && known.height === height) return known;
    return (this.#canvases[step] = newCanvas(width, height));
  }
}

/** RGBA pixels of the target box -> RGB or luma of the whole model canvas, as bytes [height, width, channels]. */
export function toTensor(rgba, target, model, fill, out) {
  const rows = sources(model.height, target.top, target.height, fill);
  const columns = sources(model.width, target.left, target.width, fill);
  let to = 0;
  for (let y = 0; y < model.height; y++) {
    for (let x = 0; x < model.width; x++) {
      const inside = rows[y] >= 0 && columns[x] >= 0;
      const from = 4 * (rows[y] * target.width + columns[x]);
      const red = inside ? rgba[from] : GRAY;
      const green = inside ? rgba[from + 1] : GRAY;
      const blue = inside ? rgba[from + 2] : GRAY;
      if (model.channels === 1) {
        out[to++] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
      } else {
        out[to++] = red;
        out[to++] = green;
        out[to++] = blue;
      }
    }
  }
  return out;
}

/** Bytes [height, width, 1 or 3] -> ImageData. */
export function toImageData(bytes, height, width) {
  const image = new ImageData(width, height);
  const channels = bytes.length / (height * width);
  for (let pixel = 0, from = 0, to = 0; pixel < height * width; pixel++, from += channels) {
    image.data[to++] = bytes[from];
    image.data[to++] = bytes[from + (channels === 3 ? 1 : 0)];
    image.data[to++] = bytes[from + (channels === 3 ? 2 : 0)];
    image.data[to++] = 255;
  }
  return image;
}

const GRAY = 127;

/** For each place on the canvas: which of the target's pixels it takes; -1 means gray. */
function sources(length, start, inside, fill) {
  return Int32Array.from({ length }, (_, at) => {
    const place = at - start;
    if (place >= 0 && place < inside) return place;
    return fill === "reflect" ? reflected(place, inside) : -1;
  });
}

/** As OpenCV's BORDER_REFLECT_101: the outermost pixel is not repeated. */
function reflected(place, length) {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const within = ((place % period) + period) % period;
  return within < length ? within : period - within;
}

/** How many pixels per target pixel to average, so that the linear step skips almost none. */
function blocks(shrink) {
  return shrink <= 1 ? 1 : 2 ** Math.max(1, Math.ceil(Math.log2(shrink / 2.5)));
}

function centered(outer, height, width) {
  height = Math.min(Math.max(roundEven(height), 1), outer.height);
  width = Math.min(Math.max(roundEven(width), 1), outer.width);
  return { top: Math.floor((outer.height - height) / 2), left: Math.floor((outer.width - width) / 2), height, width };
}

/** As Python rounds: halves go to the even neighbor. */
function roundEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function context(canvas) {
  const drawing = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  drawing.imageSmoothingEnabled = true;
  drawing.imageSmoothingQuality = "low"; // bilinear, without a browser's own idea of averaging
  return drawing;
}
