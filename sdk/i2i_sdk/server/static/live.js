// The live loop: the newest frame of the source goes to the engine whenever the engine is free; its picture is drawn
// together with the frame that it was made from.

import { DeviceEngine } from "./device_engine.js";
import { ServerEngine } from "./server_engine.js";

const ENGINES = { server: ServerEngine, device: DeviceEngine };

export class Live {
  #engines = {};
  #engine = null; // the one in use, once there is a source
  #kind = "server";
  #model = null;
  #source = null;
  #waiting = null; // the time of the newest frame that no engine has yet
  #mirrored = false;
  #view;
  #meter;
  #on;

  /** on: {state(name, detail) of the engine in use, shown(), resized() before the canvas changes, problem(text)}. */
  constructor(view, meter, on) {
    [this.#view, this.#meter, this.#on] = [view, meter, on];
  }

  get kind() {
    return this.#kind;
  }

  get source() {
    return this.#source;
  }

  get mirrored() {
    return this.#mirrored;
  }

  set mirrored(value) {
    this.#mirrored = value;
    this.#again();
  }

  /** Translate by "server" or "device" with this model from now on. */
  use(kind, model) {
    if (kind !== this.#kind) this.#leave();
    [this.#kind, this.#model] = [kind, model];
    if (this.#source) this.#begin();
  }

  /** Translate this source from now on; null: none. */
  watch(source) {
    this.#source?.stop();
    this.#source = source;
    this.#waiting = null;
    if (!source) return this.#leave();
    if (!this.#engine) this.#begin();
    this.#meter.reset();
    source.watch((time) => this.#source === source && this.#arrived(time));
  }

  /** Connect or load again, after the engine was refused. */
  retry() {
    if (this.#source) this.#engine?.start(this.#model);
  }

  #begin() {
    const kind = this.#kind;
    this.#engines[kind] ??= new ENGINES[kind](this.#listener(kind));
    this.#engine = this.#engines[kind];
    this.#meter.reset();
    this.#engine.start(this.#model);
  }

  #leave() {
    this.#engine?.close();
    this.#engine = null;
  }

  #listener(kind) {
    const inUse = () => this.#engine !== null && this.#engine === this.#engines[kind];
    return {
      state: (name, detail) => {
        if (!inUse()) return;
        this.#on.state(name, detail);
        if (name === "ready") this.#again();
      },
      free: () => inUse() && this.#feed(),
      dropped: () => inUse() && this.#dropped(),
      problem: (text) => inUse() && this.#on.problem(text),
      result: (result) => (inUse() && this.#source ? this.#show(result) : discard(result)),
    };
  }

  #arrived(time) {
    if (this.#waiting !== null && this.#engine?.ready) this.#dropped();
    this.#waiting = time;
    this.#feed();
  }

  /** A picture that is asked for twice replaces itself: nothing of it is passed over. */
  #dropped() {
    if (this.#source?.kind !== "picture") this.#meter.dropped();
  }

  /** A picture does not come again by itself, when something else changes or its connection was lost. */
  #again() {
    if (this.#source?.kind !== "picture") return;
    this.#waiting = performance.now();
    this.#feed();
  }

  async #feed() {
    if (this.#waiting === null || !this.#engine) return;
    this.#engine.wake?.();
    if (!this.#engine.free) return;
    const time = this.#waiting;
    this.#waiting = null;
    const [engine, frame] = [this.#engine, await this.#source.grab(this.#mirrored)];
    if (engine === this.#engine && engine.free) engine.submit(frame, time);
    else {
      frame.close();
      this.#waiting ??= time;
    }
  }

  #show(result) {
    if (this.#view.resizes(result.frame)) this.#on.resized();
    this.#view.show(result);
    this.#meter.shown(result.time);
    this.#on.shown();
  }
}

function discard({ frame, picture }) {
  frame.close();
  picture.close();
}
