// What the page says to people: a notice over the picture, a banner at its edge, a short message that passes.

export class Notice {
  #box;

  constructor(box) {
    this.#box = box;
  }

  /** actions: [{label, run, primary}]; ask: {label, run(value)} for a field to fill in. Replaces what is shown.
   * Words between backticks are shown as code. */
  show({ kind, title, text = "", actions = [], ask = null, busy = false }) {
    const parts = [element("h2", { textContent: title })];
    if (busy) parts.unshift(element("div", { className: "spinner", ariaHidden: "true" }));
    if (text) parts.push(withCode(text));
    if (ask) parts.push(question(ask));
    if (actions.length) parts.push(element("div", { className: "actions" }, ...actions.map(button)));
    this.#box.replaceChildren(...parts);
    this.#box.dataset.kind = kind;
    this.#box.hidden = false;
  }

  get kind() {
    return this.#box.hidden ? null : this.#box.dataset.kind;
  }

  /** Hide the notice, if it is of one of these kinds (any, if none is named). */
  hide(...kinds) {
    if (!kinds.length || kinds.includes(this.kind)) this.#box.hidden = true;
  }
}

export class Banner {
  #box;
  #timer = 0;

  constructor(box) {
    this.#box = box;
  }

  /** Count down `seconds` (0: no count) behind the text, with a button beside it. */
  show(text, seconds, action) {
    clearInterval(this.#timer);
    const words = element("span", {});
    this.#box.replaceChildren(words, ...(action ? [button(action)] : []));
    const say = (left) => (words.textContent = left > 0 ? `${text} Trying again in ${Math.ceil(left)} s.` : text);
    const end = performance.now() + 1000 * seconds;
    say(seconds);
    if (seconds) this.#timer = setInterval(() => say(Math.max(0.1, (end - performance.now()) / 1000)), 500);
    this.#box.hidden = false;
  }

  hide() {
    clearInterval(this.#timer);
    this.#box.hidden = true;
  }
}

export class Toast {
  #box;
  #timer = 0;

  constructor(box) {
    this.#box = box;
  }

  say(text) {
    clearTimeout(this.#timer);
    this.#box.textContent = text;
    this.#box.classList.add("shown");
    this.#timer = setTimeout(() => this.#box.classList.remove("shown"), 2000 + 40 * text.length);
  }
}

function button({ label, run, primary }) {
  const made = element("button", { type: "button", textContent: label, className: primary ? "primary" : "" });
  made.addEventListener("click", run);
  return made;
}

function question({ label, run }) {
  const named = { ariaLabel: label, placeholder: label };
  const field = element("input", { type: "password", autocomplete: "off", required: true, ...named });
  const send = element("button", { type: "submit", textContent: "Continue", className: "primary" });
  const form = element("form", { className: "question" }, field, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(field.value.trim());
  });
  setTimeout(() => field.focus());
  return form;
}

function withCode(text) {
  const parts = text.split("`").map((part, index) => (index % 2 ? element("code", { textContent: part }) : part));
  return element("p", {}, ...parts);
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
