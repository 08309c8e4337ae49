// On this device: onnxruntime-web in a worker, so that the page stays smooth.
//
// in:  {type: "load", generation, model, wanted, headers}   model as /v1/models lists it
//      {type: "frame", generation, id, frame}               an ImageBitmap, which comes back with its picture
// out: {type: "progress", generation, part, done, of} · {type: "ready", generation, provider, threads, variant, note}
//      {type: "failed", generation, message} · {type: "result", id, frame, picture, placement}
//      {type: "refused", id, message}

import { Shrinker, place, toImageData, toTensor } from "./geometry.js";

const VERSION = "1.30.0"; // in the addresses, because browsers keep these files
const ORT = new URL("vendor/ort/", import.meta.url).href;
const BUILDS = {
  webgpu: { script: "ort.webgpu.min.mjs", wasm: "ort-wasm-simd-threaded.asyncify" },
  wasm: { script: "ort.wasm.min.mjs", wasm: "ort-wasm-simd-threaded" },
};
const MOST_THREADS = 4; // small networks gain nothing from more

const runtimes = {}; // provider -> the loaded onnxruntime-web
const shrinker = new Shrinker();
let loaded = null; // {generation, session, ort, variant, fit, input}

// One after the other: a session is not released while it runs.
let last = Promise.resolve();
self.onmessage = ({ data }) => (last = last.then(() => (data.type === "load" ? begin(data) : translate(data))));

async function begin(data) {
  try {
    await load(data);
  } catch (error) {
    postMessage({ type: "failed", generation: data.generation, message: reason(error) });
  }
}

async function load({ generation, model, wanted, headers }) {
  await loaded?.session.release();
  loaded = null;
  let note = "";
  if (wanted === "webgpu" || (wanted !== "wasm" && (await hasRealGpu()))) {
    try {
      return await open("webgpu", { generation, model, headers, note });
    } catch (error) {
      note = `WebGPU does not run it: ${reason(error)}`;
    }
  }
  await open("wasm", { generation, model, headers, note });
}

async function open(provider, { generation, model, headers, note }) {
  const variant = choose(provider, model);
  place(variant, variant, model.fit); // throws for a fit that is done on the server only
  const tell = (part, done, of) => postMessage({ type: "progress", generation, part, done, of });
  tell("runtime", 0, 0);
  const ort = await runtime(provider);
  const bytes = await download(variant, headers, (done) => tell("model", done, variant.bytes));
  tell("start", 0, 0);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });
  const { height, width, channels } = variant;
  const next = { generation, session, ort, variant, fit: model.fit, input: new Uint8Array(height * width * channels) };
  await run(next); // compiles kernels and proves that it runs
  loaded = next;
  const threads = provider === "wasm" ? ort.env.wasm.numThreads : 0;
  postMessage({ type: "ready", generation, provider, threads, variant, note });
}

/** A software imitation of a GPU is slower than WebAssembly. */
async function hasRealGpu() {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  return Boolean(adapter) && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
}

/** WebAssembly takes the smallest; a GPU the one nearest to the server's size. `on_device`: smallest first. */
function choose(provider, model) {
  if (provider === "wasm") return model.on_device[0];
  const area = model.server.height * model.server.width;
  const distance = (v) => Math.abs(Math.log((v.height * v.width) / area));
  return model.on_device.reduce((best, v) => (distance(v) < distance(best) ? v : best));
}

async function runtime(provider) {
  if (runtimes[provider]) return runtimes[provider];
  const { script, wasm } = BUILDS[provider];
  const ort = await import(`${ORT}${script}?v=${VERSION}`);
  ort.env.wasm.wasmPaths = { mjs: `${ORT}${wasm}.mjs?v=${VERSION}`, wasm: `${ORT}${wasm}.wasm?v=${VERSION}` };
  // Threads need shared memory, which browsers give to isolated pages only.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  ort.env.logLevel = "error";
  return (runtimes[provider] = ort);
}

async function download(variant, headers, tell) {
  const response = await fetch(variant.url, { headers });
  if (!response.ok) throw new Error(`the model's file cannot be loaded (${response.status})`);
  const parts = [];
  let done = 0;
  for (const reader = response.body.getReader(); ; ) {
    const part = await reader.read();
    if (part.done) break;
    parts.push(part.value);
    tell((done += part.value.length));
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function run({ ort, session, variant, input }) {
  const image = new ort.Tensor("uint8", input, [1, variant.height, variant.width, variant.channels]);
  const outputs = await session.run({ [session.inputNames[0]]: image });
  return outputs[session.outputNames[0]].data;
}

async function translate({ generation, id, frame }) {
  try {
    if (loaded?.generation !== generation) throw new Error("The model is not loaded any more.");
    const { variant, fit, input } = loaded;
    const placement = place(frame, variant, fit);
    const canvas = shrinker.draw(frame, placement.source, placement.target);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    toTensor(data, placement.target, variant, placement.fill, input);
    const picture = await createImageBitmap(toImageData(await run(loaded), variant.height, variant.width));
    postMessage({ type: "result", id, frame, picture, placement }, [frame, picture]);
  } catch (error) {
    frame.close();
    postMessage({ type: "refused", id, message: reason(error) });
  }
}

const reason = (error) => String(error?.message ?? error).split("\n")[0];
