// The page: what its controls do, and what it says when something is not as it should be.

import { currentToken, fetchModels, setToken } from "./api.js";
import { explain, isAllowed, listCameras, openCamera } from "./camera.js";
import { Live } from "./live.js";
import { Meter } from "./meter.js";
import { Banner, Notice, Toast } from "./notice.js";
import { Recorder, canRecord, snapshot } from "./recorder.js";
import { makeSlider } from "./slider.js";
import { openFile } from "./source.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
const notice = new Notice($("notice"));
const banner = new Banner($("banner"));
const toast = new Toast($("toast"));
const view = new View($("picture"), $("after"), $("before"));
const meter = new Meter({ fps: $("fps"), latency: $("latency"), dropped: $("dropped") });
const recorder = new Recorder();
const live = new Live(view, meter, {
  state: engineIs,
  shown: pictureShown,
  resized: () => recorder.stop(),
  problem,
});

let models = [];
let wish = { facingMode: "user" }; // which camera
let turn = 0; // of opening sources: a later one overtakes

const model = () => models.find(({ name }) => name === $("model").value);
const engineChoice = () => document.querySelector('input[name="engine"]:checked').value;
const openButton = { label: "Open a picture or video", run: () => $("file").click() };

// ---- Models and engines

async function loadModels() {
  setState("boot");
  notice.show({ kind: "boot", title: "Asking the server for its models", busy: true });
  try {
    await listModels();
  } catch (error) {
    return bootFailed(error);
  }
  chooseEngine();
  if (await isAllowed()) return startCamera();
  return welcome();
}

async function listModels() {
  const chosen = $("model").value;
  const listed = await fetchModels();
  models = listed.models;
  const wanted = models.some(({ name }) => name === chosen) ? chosen : listed.default;
  $("model").replaceChildren(...models.map(({ name }) => new Option(name, name, false, name === wanted)));
}

/** The server was started again with other models. */
async function relist() {
  await listModels().then(chooseEngine, bootFailed);
}

function bootFailed(error) {
  const again = { label: "Try again", run: loadModels, primary: true };
  if (error.code === "token") return askToken(loadModels);
  const title = error.code === "unreachable" ? "The server does not answer" : "The server cannot list its models";
  const hint = error.code === "unreachable" ? " Is `i2i serve` still running?" : "";
  return notice.show({ kind: "boot", title, text: error.message + hint, actions: [again] });
}

function askToken(then) {
  const wrong = Boolean(currentToken());
  const text = wrong
    ? "The server did not take that token. It was printed where `i2i serve` was started."
    : "This server is protected. Its token was printed where `i2i serve` was started.";
  const title = wrong ? "That token is not right" : "A token is needed";
  const run = (value) => {
    setToken(value);
    then();
  };
  notice.show({ kind: "engine", title, text, ask: { label: "Token", run } });
}

/** Give model and engine to the loop; a model that no browser can run stays with the server. */
function chooseEngine() {
  const chosen = model();
  const possible = chosen.on_device.length > 0;
  const device = document.querySelector('input[value="device"]');
  device.disabled = !possible;
  $("device-choice").title = possible ? "" : `${chosen.name} has no graph that browsers run: it stays on the server`;
  if (!possible && device.checked) {
    document.querySelector('input[value="server"]').checked = true;
    toast.say(`${chosen.name} runs on the server only: its bundle has no graph for browsers.`);
  }
  $("about").textContent = about(chosen);
  document.body.dataset.engine = engineChoice();
  live.use(engineChoice(), chosen);
}

function about({ name, title, trained_on: trainedOn, license }) {
  const what = title === name ? "" : title.replace("->", "→");
  const told = [name, what, trainedOn && `trained on ${trainedOn}`, license && `weights: ${license}`];
  return told.filter(Boolean).join(" · ");
}

function useEngine(kind) {
  document.querySelector(`input[value="${kind}"]`).checked = true;
  chooseEngine();
}

function engineIs(name, detail) {
  document.body.dataset.engineState = name;
  document.body.dataset.engine = live.kind;
  if (name !== "waiting") banner.hide();
  if (name !== "refused") notice.hide("engine");
  const say = (text) => ($("engine").textContent = text);
  if (name === "connecting") say("Connecting to the server");
  if (name === "asleep") say("Server: paused");
  if (name === "loading") loading(detail, say);
  if (name === "waiting") {
    const local = live.kind === "device";
    say(local ? "This device: waiting for the server" : "Server: not connected");
    const text = local ? "The server, which the model comes from, cannot be reached." : "The server is gone.";
    banner.show(text, detail.seconds, { label: "Try now", run: () => live.retry() });
  }
  if (name === "refused") refused(detail, say);
  if (name === "ready") {
    say(detail.engine);
    if (detail.note) toast.say(detail.note);
    const first = { kind: "wait", title: "The first picture is being made", busy: true };
    if (document.body.dataset.state !== "live") notice.show(first);
  }
}

function loading({ part, done, of }, say) {
  const text = { runtime: "Loading onnxruntime-web", start: "Preparing the model" }[part] ?? "Loading the model";
  const share = part === "model" && of ? ` ${Math.min(100, Math.round((100 * done) / of))} %` : "";
  say(text + share);
  if (document.body.dataset.state === "live") banner.show(`${text}${share} …`, 0);
  else notice.show({ kind: "wait", title: text + share, busy: true });
}

function refused({ code, message }, say) {
  say(live.kind === "device" ? "Does not run on this device" : "Server: refused");
  const again = { label: "Try again", run: () => live.retry(), primary: true };
  if (code === "token") return askToken(() => live.retry());
  if (code === "unknown_model") return relist();
  if (code === "device") {
    const server = { label: "Translate on the server", run: () => useEngine("server"), primary: true };
    const text = `This browser cannot run the model: ${message}`;
    const actions = [server, { label: "Try again", run: relist }];
    return notice.show({ kind: "engine", title: "Not on this device", text, actions });
  }
  const actions = [again];
  if (model().on_device.length) actions.push({ label: "Translate on this device", run: () => useEngine("device") });
  const title = code === "busy" ? "The server is full" : "The server refused";
  return notice.show({ kind: "engine", title, text: message, actions });
}

/** A frame was refused; with others it may go better. */
function problem(text) {
  if (document.body.dataset.state === "live") return toast.say(text);
  return notice.show({ kind: "wait", title: "This cannot be translated", text, actions: [openButton] });
}

// ---- Sources

function welcome() {
  setState("idle");
  notice.show({
    kind: "welcome",
    title: "See it live, through the model",
    text: "Every frame is translated by the server, or by this device itself. Nothing is kept.",
    actions: [{ label: "Start the camera", run: () => startCamera(), primary: true }, openButton],
  });
}

async function startCamera(wanted = wish) {
  const mine = ++turn;
  stopSource();
  setState("starting");
  const text = "If the browser asks, allow it. The picture goes to the engine that you choose, nowhere else.";
  notice.show({ kind: "wait", title: "Waiting for the camera", text, busy: true });
  try {
    const opened = await openCamera($("video"), wanted, cameraEnded);
    if (mine !== turn) return opened.source.stop();
    wish = wanted;
    setMirror(opened.facing === "user");
    begin(opened.source);
    await fillCameras(opened.deviceId);
  } catch (error) {
    if (mine === turn) cameraFailed(error, wanted);
  }
  return undefined;
}

function cameraFailed(error, wanted) {
  setState("idle");
  const again = { label: "Try again", run: () => startCamera(wanted), primary: true };
  const actions = error.name === "InsecureContext" ? [{ ...openButton, primary: true }] : [again, openButton];
  notice.show({ kind: "camera", ...explain(error), actions });
}

function cameraEnded() {
  stopSource();
  setState("idle");
  const again = { label: "Start again", run: () => startCamera({ facingMode: "user" }), primary: true };
  const text = "It was unplugged or taken away.";
  notice.show({ kind: "camera", title: "The camera is gone", text, actions: [again, openButton] });
}

async function fillCameras(chosen) {
  const cameras = await listCameras();
  $("camera-select").replaceChildren(...cameras.map(({ id, name }) => new Option(name, id, false, id === chosen)));
  $("flip").hidden = cameras.length < 2;
  document.querySelector(".camera-select").hidden = cameras.length < 2;
}

async function openSource(file) {
  if (!file) return;
  const mine = ++turn;
  stopSource();
  setState("starting");
  notice.show({ kind: "wait", title: `Opening ${file.name}`, busy: true });
  try {
    const source = await openFile(file, $("video"));
    if (mine !== turn) return source.stop();
    setMirror(false);
    begin(source);
  } catch (error) {
    if (mine !== turn) return;
    setState("idle");
    const actions = [{ ...openButton, primary: true }];
    notice.show({ kind: "file", title: "That file does not work", text: error.message, actions });
  }
  return undefined;
}

function begin(source) {
  $("camera").setAttribute("aria-pressed", String(source.kind === "camera"));
  live.watch(source);
}

function stopSource() {
  recorder.stop();
  live.watch(null);
  $("camera").setAttribute("aria-pressed", "false");
  $("engine").textContent = "";
  banner.hide();
  meter.reset();
}

function pictureShown() {
  const label = `Translated by ${model().name}, on ${live.kind === "server" ? "the server" : "this device"}`;
  if ($("after").ariaLabel !== label) $("after").ariaLabel = label;
  if (document.body.dataset.state === "live") return;
  setState("live");
  notice.hide();
}

function setState(state) {
  document.body.dataset.state = state;
  const isLive = state === "live";
  document.querySelector(".dock").inert = state === "boot"; // nothing to choose yet
  if (!isLive) $("picture").hidden = true;
  $("snapshot").disabled = !isLive;
  const still = live.source?.kind === "picture";
  $("record").disabled = !isLive || still || !canRecord();
  $("record").title = still ? "A picture does not move: take a snapshot" : "Record what is translated";
}

function setMirror(on) {
  live.mirrored = on;
  $("mirror").setAttribute("aria-pressed", String(on));
}

// ---- Controls

$("model").addEventListener("change", chooseEngine);
for (const choice of document.querySelectorAll('input[name="engine"]')) choice.addEventListener("change", chooseEngine);

$("camera").addEventListener("click", () => {
  if (live.source?.kind !== "camera") return startCamera();
  turn++;
  stopSource();
  return welcome();
});
$("camera-select").addEventListener("change", ({ target }) => startCamera({ deviceId: target.value }));
$("flip").addEventListener("click", () => {
  const select = $("camera-select");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  return startCamera({ deviceId: select.value });
});
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", ({ target }) => {
  openSource(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
$("mirror").addEventListener("click", () => setMirror(!live.mirrored));

makeSlider($("picture"), $("slider"));
$("compare").addEventListener("click", () => {
  const off = $("picture").classList.toggle("whole");
  $("slider").hidden = off;
  $("compare").setAttribute("aria-pressed", String(!off));
});

$("snapshot").addEventListener("click", () => snapshot(view.canvas, $("model").value));

$("record").addEventListener("click", () => {
  if (recorder.running) return recorder.stop();
  const began = performance.now();
  const clock = setInterval(() => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    $("clock").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }, 250);
  recorder.start(view.canvas, $("model").value, (kept) => {
    clearInterval(clock);
    showRecording(false);
    toast.say(kept ? "The recording is in your downloads." : "Nothing was recorded.");
  });
  return showRecording(true);
});

function showRecording(on) {
  $("clock").textContent = "0:00";
  $("recording").hidden = !on;
  $("record").setAttribute("aria-pressed", String(on));
  $("record-label").textContent = on ? "Stop" : "Record";
  $("record-icon").setAttribute("href", on ? "#i-stop" : "#i-record");
}

$("full").hidden = !document.fullscreenEnabled;
$("full").addEventListener("click", () =>
  document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen().catch(() => {}),
);
document.addEventListener("fullscreenchange", () =>
  $("full").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement))),
);

// ---- Files dropped anywhere

const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
const dropping = (on) => document.body.classList.toggle("dropping", on);
document.addEventListener("dragover", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  dropping(true);
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && dropping(false));
document.addEventListener("drop", (event) => {
  if (!carriesFile(event)) return;
  event.preventDefault();
  dropping(false);
  openSource(event.dataTransfer.files[0]);
});
navigator.mediaDevices?.addEventListener?.("devicechange", () => fillCameras($("camera-select").value));

loadModels();
