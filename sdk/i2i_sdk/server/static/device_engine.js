// The engine “this device”: a worker that runs the model in the browser. Same shape as ServerEngine.

import { authorization, isThere, wantedProvider } from "./api.js";

const DEEP = 1; // frames with the worker: a second one would only grow old there
const RETRY_SECONDS = 4; // while the server, which the files come from, is away

export class DeviceEngine {
  #worker = null;
  #pending = new Map(); // id -> {time, start}
  #nextId = 1;
  #starts = 0; // what was asked for before the last start is not shown
  #generation = 0; // of the model with the worker
  #model = null; // as /v1/models lists it
  #ready = null; // what the worker said when it was
  #timer = 0;
  #on;

  /** on: {state(name, detail), result(result), free(), problem(message)}, as for ServerEngine. "waiting": for the
   * server, which the files come from. */
  constructor(on) {
    this.#on = on;
  }

  get ready() {
    return this.#ready !== null;
  }

  get free() {
    return this.ready && this.#pending.size < DEEP;
  }

  /** Load the model, unless that was done. */
  start(model) {
    this.close();
    if (this.ready && this.#model === model) return this.#isReady(this.#ready);
    this.#model = model;
    if (!this.#worker) {
      this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
      this.#worker.onmessage = ({ data }) => this.#heard(data);
      this.#worker.onerror = (event) => this.#broke(event.message || "its worker cannot be started");
    }
    this.#ready = null;
    this.#generation++;
    this.#on.state("loading", {});
    const load = { generation: this.#generation, model, wanted: wantedProvider, headers: authorization() };
    return this.#worker.postMessage({ type: "load", ...load });
  }

  /** Stop trying; what is loaded stays, because it is slow to load. */
  close() {
    clearTimeout(this.#timer);
    this.#starts++;
  }

  submit(frame, time) {
    const id = this.#nextId++;
    this.#pending.set(id, { time, start: this.#starts });
    this.#worker.postMessage({ type: "frame", generation: this.#generation, id, frame }, [frame]);
  }

  #heard(message) {
    if (message.type === "result" || message.type === "refused") return this.#answered(message);
    if (message.generation !== this.#generation) return undefined;
    if (message.type === "progress") return this.#on.state("loading", message);
    if (message.type === "failed") return this.#failed(message.message);
    return this.#isReady(message);
  }

  #isReady(message) {
    this.#ready = message;
    this.#on.state("ready", { engine: described(message), note: message.note });
    this.#on.free();
  }

  #answered(message) {
    const asked = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    const current = asked?.start === this.#starts;
    if (message.type === "result" && current) {
      const { source, target } = message.placement;
      this.#on.result({ frame: message.frame, picture: message.picture, from: target, to: source, time: asked.time });
    } else {
      message.frame?.close();
      message.picture?.close();
      if (current) this.#on.problem(message.message);
    }
    this.#on.free();
  }

  /** The worker itself is of no use any more; the next start makes a new one. */
  #broke(message) {
    this.#discard();
    this.#failed(message);
  }

  #discard() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#pending.clear();
  }

  /** It is the device's fault only if the server is there: the worker, its runtime and the model are its files. */
  async #failed(message) {
    this.#ready = null;
    const start = this.#starts;
    const there = await isThere();
    if (start !== this.#starts) return undefined;
    if (there) return this.#on.state("refused", { code: "device", message });
    this.#discard(); // browsers do not fetch a module twice for one worker
    this.#timer = setTimeout(() => this.start(this.#model), 1000 * RETRY_SECONDS);
    return this.#on.state("waiting", { seconds: RETRY_SECONDS });
  }
}

function described({ provider, threads, variant }) {
  const name = provider === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}`;
  return `${name} · ${variant.precision} · ${variant.width}×${variant.height}`;
}
