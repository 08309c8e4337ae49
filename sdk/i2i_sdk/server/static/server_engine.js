// The engine “server”: frames go over a WebSocket as JPEG, at most `credit` of them unanswered.

import { currentToken } from "./api.js";
import { Shrinker, newCanvas } from "./geometry.js";

const QUALITY = 0.85;
const LEAST_SIDE = 640; // what is sent has at least this longest side, else twice the model's
const BACK_OFF = [0.5, 1, 2, 4, 8]; // seconds before each try to connect again
const PATIENCE = 10_000; // ms for the server's "ready"
const [SENT_HEADER, RECEIVED_HEADER] = [16, 32]; // bytes
const FRAME_INTERVAL = 34; // ms: a frame that would wait for longer is better taken later, when it is newer

export class ServerEngine {
  #socket = null;
  #model = null; // as /v1/models lists it
  #ready = null; // the server's last "ready"
  #generation = 0; // of the model: what an older one made is not shown
  #pending = new Map(); // id -> {frame, time, generation}
  #nextId = 1;
  #lastShown = 0;
  #engineMs = 0; // of the last frame
  #busyUntil = 0; // when the server will have translated what it was sent
  #encoding = false;
  #attempt = 0;
  #timer = 0;
  #asleep = false;
  #refusal = null; // why the server is about to close
  #canvas = newCanvas(1, 1);
  #shrinker = new Shrinker();
  #on;

  /** on: {state(name, detail), result(result), free(), dropped(), problem(message)}; states: "connecting",
   * "ready" {engine}, "waiting" {seconds}, "asleep", "refused" {code, message}. */
  constructor(on) {
    this.#on = on;
  }

  get ready() {
    return this.#ready !== null;
  }

  get free() {
    if (!this.ready || this.#encoding || this.#pending.size >= this.#ready.credit) return false;
    return this.#pending.size === 0 || this.#busyUntil - performance.now() <= FRAME_INTERVAL;
  }

  /** Connect, or change to another model. */
  start(model) {
    this.#model = model;
    this.#generation++;
    this.#ready = null;
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#on.state("connecting", {});
      this.#send({ type: "model", model: model.name });
    } else if (!this.#socket) {
      this.#connect();
    }
  }

  /** Connect again, if the server closed for want of frames. */
  wake() {
    if (this.#asleep) this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    [this.#refusal, this.#asleep] = [null, false];
    this.#on.state("connecting", {});
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      const quality = Math.round(100 * QUALITY);
      this.#send({ type: "hello", token: currentToken(), model: this.#model.name, format: "jpeg", quality });
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.#told(JSON.parse(data)) : this.#received(data));
    socket.onclose = (event) => this.#socket === socket && this.#closed(event);
    this.#socket = socket;
    this.#timer = setTimeout(() => socket.close(), PATIENCE);
  }

  /** Send a frame, which this engine then owns: width, height and time (ms) come back with its picture. */
  async submit(frame, time) {
    const id = this.#nextId++;
    this.#pending.set(id, { frame, time, generation: this.#generation });
    this.#encoding = true;
    const socket = this.#socket;
    try {
      const message = await this.#encoded(frame, id, time);
      if (socket === this.#socket && socket.readyState === WebSocket.OPEN) socket.send(message);
      this.#busyUntil = Math.max(this.#busyUntil, performance.now()) + this.#engineMs;
    } catch (error) {
      this.#taken(id)?.frame.close();
      this.#on.problem(`A frame could not be sent: ${error.message}`);
    }
    this.#encoding = false;
    this.#on.free();
  }

  close() {
    clearTimeout(this.#timer);
    this.#ready = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#asleep = false;
    this.#forget();
  }

  async #encoded(frame, id, time) {
    const { width, height } = this.#sentSize(frame);
    const whole = { top: 0, left: 0, width: frame.width, height: frame.height };
    const picture = width === frame.width ? frame : this.#shrinker.draw(frame, whole, { width, height });
    if (this.#canvas.width !== width || this.#canvas.height !== height) this.#canvas = newCanvas(width, height);
    this.#canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
    const image = await (await toBlob(this.#canvas)).arrayBuffer();
    const message = new Uint8Array(SENT_HEADER + image.byteLength);
    const header = new DataView(message.buffer);
    header.setUint32(0, id, true);
    header.setFloat64(8, time, true);
    message.set(new Uint8Array(image), SENT_HEADER);
    return message;
  }

  #sentSize({ width, height }) {
    const side = Math.max(LEAST_SIDE, 2 * Math.max(this.#ready.height, this.#ready.width));
    const scale = Math.min(1, side / Math.max(width, height), Math.sqrt(this.#ready.max_pixels / (width * height)));
    return { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.floor(height * scale)) };
  }

  #told(message) {
    if (message.type === "ready" && message.model === this.#model.name) {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#ready = message;
      this.#on.state("ready", { engine: described(message) });
      this.#on.free();
    } else if (message.type === "dropped") {
      this.#taken(message.id)?.frame.close();
      this.#on.dropped();
      this.#on.free();
    } else if (message.type === "error" && message.id !== null) {
      this.#taken(message.id)?.frame.close();
      this.#on.problem(message.message);
      this.#on.free();
    } else if (message.type === "error") {
      this.#refusal = message;
      if (message.code === "unknown_model") this.#on.state("refused", message); // not always followed by a close
    }
  }

  async #received(buffer) {
    const header = new DataView(buffer);
    const id = header.getUint32(0, true);
    const asked = this.#taken(id);
    this.#engineMs = header.getFloat32(20, true) + header.getFloat32(24, true); // decoding is within the turn
    this.#busyUntil = performance.now() + this.#engineMs * this.#pending.size;
    if (!asked) return;
    this.#on.free(); // the next frame travels while this picture is decoded
    const image = new Blob([new Uint8Array(buffer, RECEIVED_HEADER)], { type: "image/jpeg" });
    const picture = await createImageBitmap(image).catch(() => null);
    if (!picture) {
      asked.frame.close();
      return this.#on.problem("The server's answer is no picture.");
    }
    if (asked.generation !== this.#generation || id < this.#lastShown) {
      asked.frame.close();
      picture.close();
      return;
    }
    this.#lastShown = id;
    this.#on.result({ frame: asked.frame, picture, from: null, to: null, time: asked.time });
  }

  #closed({ code, reason }) {
    clearTimeout(this.#timer);
    this.#socket = null;
    this.#ready = null;
    this.#forget();
    const refusal = this.#refusal ?? (code === 1008 || code === 1013 ? { code: reason, message: reason } : null);
    if (refusal && /idle/.test(refusal.code)) {
      this.#asleep = true;
      return this.#on.state("asleep", {});
    }
    if (refusal && code !== 1011 && code !== 1012) {
      const kind = code === 1013 ? "busy" : /token|auth/.test(refusal.code) ? "token" : refusal.code;
      return this.#on.state("refused", { code: kind, message: refusal.message });
    }
    const seconds = BACK_OFF[Math.min(this.#attempt++, BACK_OFF.length - 1)];
    this.#timer = setTimeout(() => this.#connect(), 1000 * seconds);
    return this.#on.state("waiting", { seconds });
  }

  #taken(id) {
    const asked = this.#pending.get(id);
    this.#pending.delete(id);
    return asked;
  }

  #forget() {
    for (const { frame } of this.#pending.values()) frame.close();
    this.#pending.clear();
  }

  #send(message) {
    this.#socket.send(JSON.stringify(message));
  }
}

function toBlob(canvas) {
  if (canvas.convertToBlob) return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

function described({ engine, height, width }) {
  const provider = engine.provider && !engine.provider.toLowerCase().includes("cpu") ? ` on ${engine.provider}` : "";
  return `Server: ${engine.backend}${provider} · ${engine.precision} · ${width}×${height}`;
}
