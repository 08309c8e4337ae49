// The picture on the page: two canvases on top of each other, of a frame and of what became of that same frame.

export class View {
  #picture;
  #after;
  #before;

  constructor(picture, after, before) {
    [this.#picture, this.#after, this.#before] = [picture, after, before];
  }

  /** The canvas with the translated picture. */
  get canvas() {
    return this.#after;
  }

  /** Would showing a frame of this size change the canvas? */
  resizes({ width, height }) {
    return this.#after.width !== width || this.#after.height !== height;
  }

  /** Draw a result; from and to say which box of the picture covers which box of the frame (null: all). */
  show({ frame, picture, from, to }) {
    if (this.resizes(frame)) this.#resize(frame);
    draw(this.#before, (context) => context.drawImage(frame, 0, 0));
    draw(this.#after, (context) => {
      const { left, top, width, height } = to ?? { left: 0, top: 0, width: frame.width, height: frame.height };
      const part = from ?? { left: 0, top: 0, width: picture.width, height: picture.height };
      if (width < frame.width || height < frame.height) context.drawImage(frame, 0, 0); // the border stays as it is
      context.drawImage(picture, part.left, part.top, part.width, part.height, left, top, width, height);
    });
    this.#picture.hidden = false;
    frame.close();
    picture.close();
  }

  #resize({ width, height }) {
    for (const canvas of [this.#after, this.#before]) Object.assign(canvas, { width, height });
    this.#picture.style.setProperty("--ratio", String(width / height));
  }
}

function draw(canvas, paint) {
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "low"; // enlarges bilinearly, as the SDK does
  paint(context);
}
