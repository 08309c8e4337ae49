// The engine “this device”: a worker that runs the model in the browser. Same shape as ServerEngine.

import { authorization, wantedProvider } from "./api.js";

const DEEP = 1; // frames with the worker: a second one would only grow old there

export class DeviceEngine {
  #worker = null;
  #pending = new Map(); // id -> {time, generation}
  #nextId = 1;
  #generation = 0; // of the model: what an older one made is not shown
  #ready = false;
  #on;

  /** on: {state(name, detail), result(result), free(), problem(message)}, as for ServerEngine. */
  constructor(on) {
    this.#on = on;
  }

  get free() {
    return this.#ready && this.#pending.size < DEEP;
  }

  start(model) {
    if (!this.#worker) {
      this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
      this.#worker.onmessage = ({ data }) => this.#heard(data);
      this.#worker.onerror = (event) => this.#failed(event.message || "the worker cannot be started");
    }
    this.#ready = false;
    this.#generation++;
    this.#on.state("loading", {});
    const load = { generation: this.#generation, model, wanted: wantedProvider, headers: authorization() };
    this.#worker.postMessage({ type: "load", ...load });
  }

  submit(frame, time) {
    const id = this.#nextId++;
    this.#pending.set(id, { time, generation: this.#generation });
    this.#worker.postMessage({ type: "frame", generation: this.#generation, id, frame }, [frame]);
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#ready = false;
    this.#pending.clear();
  }

  #heard(message) {
    if (message.type === "result" || message.type === "refused") return this.#answered(message);
    if (message.generation !== this.#generation) return undefined;
    if (message.type === "progress") return this.#on.state("loading", message);
    if (message.type === "failed") return this.#failed(message.message);
    this.#ready = true;
    this.#on.state("ready", { engine: described(message), note: message.note });
    return this.#on.free();
  }

  #answered(message) {
    const asked = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    const current = asked?.generation === this.#generation;
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

  #failed(message) {
    this.#ready = false;
    this.#on.state("refused", { code: "device", message });
  }
}

function described({ provider, threads, variant }) {
  const name = provider === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} thread${threads === 1 ? "" : "s"}`;
  return `${name} · ${variant.precision} · ${variant.width}×${variant.height}`;
}
