// The line between before and after: dragged anywhere on the picture, or moved with the keyboard.

const STEPS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 };

/** `area`: what is dragged on; `handle`: the element with role="slider". The place is the CSS variable --split. */
export function makeSlider(area, handle) {
  let value = 50;

  function move(to) {
    value = Math.min(100, Math.max(0, to));
    area.style.setProperty("--split", String(value / 100));
    handle.setAttribute("aria-valuenow", String(Math.round(value)));
    handle.setAttribute("aria-valuetext", `${Math.round(value)} % original`);
    area.classList.toggle("mostly-after", value < 12);
    area.classList.toggle("mostly-before", value > 88);
  }

  function drag(event) {
    const box = area.getBoundingClientRect();
    move((100 * (event.clientX - box.left)) / box.width);
  }

  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || handle.hidden) return;
    area.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    event.preventDefault();
    drag(event);
  });
  area.addEventListener("pointermove", (event) => area.hasPointerCapture(event.pointerId) && drag(event));

  handle.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const ends = { Home: 0, End: 100 };
    if (event.key in ends) move(ends[event.key]);
    else if (event.key in STEPS) move(value + STEPS[event.key] * (event.shiftKey ? 5 : 1));
    else return;
    event.preventDefault();
  });

  move(50);
}
