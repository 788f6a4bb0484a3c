// The viewer: the pictures of one sample, large, two of them over one another or all side by side, enlarged in step.
//
// Takes everything from the sample's card, as elements and texts, never as markup. A picture is shown as its thumbnail until
// the whole image is there, and stays so where it cannot be had. Pictures are laid over one another by the style sheet
// alone: a page on disk may show images, but may not read their pixels.

(() => {
  const MOST_ZOOM = 32;
  const STEP = 1.4;
  const BLINK_MS = 700;
  const DRAG_PX = 4;

  const part = (name) => byId(`viewer-${name}`);
  const dialog = byId("viewer");
  const stage = part("stage");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const narrow = matchMedia("(max-width: 40rem)");
  const names = JSON.parse(byId("tools").dataset.runs ?? "{}");
  const view = { card: null, pictures: [], left: 0, right: 1, mode: "slider", zoom: 1, x: 0, y: 0, opened: 0 };
  let blinking = 0;

  // What a card has to show

  function picturesOf(card) {
    return [...card.querySelectorAll("figure")].map((figure) => {
      const link = figure.querySelector("a");
      const image = figure.querySelector("img");
      const { letter } = figure.dataset;
      return {
        name: letter ? `${letter} · ${names[letter] ?? ""}` : figure.querySelector("figcaption").textContent.trim(),
        short: letter ?? figure.querySelector("figcaption").textContent.trim(),
        full: link?.href,
        thumbnail: image?.src,
        alt: image?.alt ?? "",
        link: link ?? card.querySelector("a.id"),
      };
    });
  }

  function shownImage(picture) {
    if (!picture.thumbnail) return element("p", "no image", { className: "lacking" });
    const image = element("img", "", { alt: picture.alt, src: picture.thumbnail, draggable: false });
    const whole = new Image();
    whole.src = picture.full;
    whole.decode().then(
      () => {
        image.src = picture.full;
        image.dataset.size = `${whole.naturalWidth} × ${whole.naturalHeight}`;
        say();
      },
      () => {
        image.dataset.size = "thumbnail";
        say();
      },
    );
    return image;
  }

  function layer(picture, side) {
    const made = element("div", "", { className: `layer ${side}` });
    made.append(shownImage(picture));
    return made;
  }

  function pane(...children) {
    const made = element("div", "", { className: "pane" });
    made.append(...children);
    return made;
  }

  const chip = (picture, side) => element("span", picture.short, { className: `name ${side}`, title: picture.name });

  const columnsFor = (count) => Math.min(count <= 3 ? count : Math.ceil(count / 2), narrow.matches ? 2 : Infinity);

  function draw() {
    const { pictures, left, right, mode } = view;
    stage.dataset.mode = mode;
    stage.style.setProperty("--columns", mode === "beside" ? columnsFor(pictures.length) : 1);
    if (mode === "beside") {
      stage.replaceChildren(...pictures.map((one) => pane(layer(one, "only"), chip(one, "left"))));
    } else {
      const divider = element("div", "", { className: "divider" });
      stage.replaceChildren(pane(layer(pictures[right], "right"), layer(pictures[left], "left"), divider, chip(pictures[left], "left"), chip(pictures[right], "right")));
    }
    part("cut-label").hidden = mode !== "slider";
    part("blinking").hidden = mode !== "blink";
    part("amplified").hidden = mode !== "difference";
    part("left").disabled = part("right").disabled = mode === "beside";
    stage.dataset.showing = "left";
    blink();
    place();
    say();
  }

  /** Say what is seen, with sizes, and what could not be had. */
  function say() {
    const size = (side) => stage.querySelector(`.${side} img`)?.dataset.size;
    const told = (picture, side) => picture.name + ({ undefined: "", thumbnail: " (its thumbnail: the image is not beside this page)" }[size(side)] ?? ` (${size(side)})`);
    const { pictures, left, right, mode } = view;
    const between = { slider: "left of", blink: "in turn with", difference: "minus" }[mode];
    part("said").textContent = between ? `${told(pictures[left], "left")} ${between} ${told(pictures[right], "right")}` : pictures.map((one) => one.name).join(", ");
  }

  function wordsOf(card) {
    return [...card.querySelectorAll(".verdict, .words, .cell")].map((words) => {
      const copy = words.cloneNode(true);
      for (const one of copy.querySelectorAll("figure, .pictures")) one.remove();
      for (const one of copy.querySelectorAll("details")) one.open = true;
      return copy;
    });
  }

  function show(card) {
    const kept = view.card && view.pictures.length === card.querySelectorAll("figure").length;
    view.card = card;
    view.pictures = picturesOf(card);
    if (!kept) [view.left, view.right] = [0, Math.min(1, view.pictures.length - 1)];
    for (const side of ["left", "right"]) {
      part(side).replaceChildren(...view.pictures.map((one, value) => element("option", one.name, { value })));
      part(side).value = view[side];
    }
    const shown = gallery.shown();
    const at = shown.indexOf(card);
    byId("viewer-title").textContent = card.querySelector("a.id bdi").textContent;
    part("place").textContent = `${at + 1} of ${shown.length}`;
    part("before").disabled = at <= 0;
    part("after").disabled = at >= shown.length - 1;
    part("words").replaceChildren(...wordsOf(card));
    [view.zoom, view.x, view.y] = [1, 0, 0];
    draw();
    gallery.note(JSON.parse(card.dataset.card).index);
  }

  function open(card, number) {
    view.card = null;
    view.opened = number;
    show(card);
    if (number > 1) choose("right", number);
    if (!dialog.open) dialog.showModal();
    part("title").focus();
    blink();
  }

  function step(by) {
    const shown = gallery.shown();
    const next = shown[shown.indexOf(view.card) + by];
    if (next) show(next);
  }

  function choose(side, number) {
    view[side] = (number + view.pictures.length) % view.pictures.length;
    part(side).value = view[side];
    draw();
  }

  function compareBy(mode) {
    view.mode = mode;
    for (const radio of part("modes").querySelectorAll("input")) radio.checked = radio.value === mode;
    draw();
  }

  // Divider, blink, difference

  function cut(percent) {
    const range = part("cut");
    range.value = percent;
    range.ariaValueText = `${Math.round(range.value)} % of the left image`;
    stage.style.setProperty("--cut", `${range.value}%`);
  }

  function swap() {
    stage.dataset.showing = stage.dataset.showing === "left" ? "right" : "left";
  }

  function blink() {
    clearInterval(blinking);
    if (dialog.open && view.mode === "blink" && part("itself").checked) blinking = setInterval(swap, BLINK_MS);
  }

  // Zoom: the image is moved by x, y (in shares of the pane, which is 1 by 1) and enlarged from its upper left corner

  const held = (value, zoom) => Math.min(0, Math.max(1 - zoom, value));

  function place() {
    stage.style.setProperty("--zoom", view.zoom);
    stage.style.setProperty("--x", `${view.x * 100}%`);
    stage.style.setProperty("--y", `${view.y * 100}%`);
    stage.classList.toggle("large", view.zoom > 1);
    stage.classList.toggle("pixels", view.zoom >= 6);
    part("zoom").textContent = `${Math.round(view.zoom * 100)} %`;
  }

  function zoomTo(zoom, [x, y] = [0.5, 0.5]) {
    const next = Math.min(MOST_ZOOM, Math.max(1, zoom));
    view.x = held(x - ((x - view.x) * next) / view.zoom, next);
    view.y = held(y - ((y - view.y) * next) / view.zoom, next);
    view.zoom = next;
    place();
  }

  function moveBy(x, y) {
    view.x = held(view.x + x, view.zoom);
    view.y = held(view.y + y, view.zoom);
    place();
  }

  function spot(event) {
    const box = (event.target.closest(".pane") ?? stage).getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, box];
  }

  // Fingers and mice: one moves the divider or the image, two enlarge

  const fingers = new Map();
  let grip = null;

  const apart = () => {
    const [one, other] = [...fingers.values()];
    return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  };

  function press(event) {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
    const [x, , box] = spot(event);
    const near = Math.abs(x * 100 - part("cut").value) * box.width < 2400;
    grip = { box, divides: view.mode === "slider" && (view.zoom === 1 || near), moved: 0, apart: fingers.size === 2 ? apart() : 0, zoom: view.zoom };
    if (grip.divides) cut(x * 100);
  }

  function drag(event) {
    const before = fingers.get(event.pointerId);
    if (!before || !grip) return;
    fingers.set(event.pointerId, event);
    if (fingers.size === 2 && grip.apart) {
      zoomTo((grip.zoom * apart()) / grip.apart);
      return;
    }
    grip.moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    if (grip.divides) cut(((event.clientX - grip.box.left) / grip.box.width) * 100);
    else if (grip.moved > DRAG_PX) moveBy((event.clientX - before.clientX) / grip.box.width, (event.clientY - before.clientY) / grip.box.height);
  }

  function release(event) {
    fingers.delete(event.pointerId);
    if (!fingers.size) grip = null;
  }

  function wheel(event) {
    event.preventDefault();
    zoomTo(view.zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), spot(event));
  }

  // Keys

  function toggleKeys() {
    part("keys").hidden = !part("keys").hidden;
    part("help").ariaExpanded = String(!part("keys").hidden);
  }

  const keys = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    s: () => compareBy("slider"),
    i: () => compareBy("beside"),
    b: () => compareBy("blink"),
    d: () => compareBy("difference"),
    ",": () => choose("left", view.left + 1),
    ".": () => choose("right", view.right + 1),
    " ": () => (view.mode === "blink" ? swap() : turnRound()),
    "+": () => zoomTo(view.zoom * STEP),
    "=": () => zoomTo(view.zoom * STEP),
    "-": () => zoomTo(view.zoom / STEP),
    0: () => zoomTo(1),
    "?": toggleKeys,
  };
  const moves = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };

  function turnRound() {
    [view.left, view.right] = [view.right, view.left];
    part("left").value = view.left;
    part("right").value = view.right;
    draw();
  }

  function pressKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const own = event.target.matches("input, select, button, summary, a");
    if (own && (event.key === " " || (event.target.matches("input, select") && event.key.startsWith("Arrow")))) return;
    if (event.target.matches("select") && event.key.length === 1) return;
    const act = event.shiftKey && moves[event.key] ? () => moveBy(...moves[event.key]) : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // Wiring

  gallery.list.addEventListener("click", (event) => {
    const figure = event.target.closest("figure");
    if (!figure || event.ctrlKey || event.metaKey || event.shiftKey || !figure.querySelector("img")) return;
    event.preventDefault();
    const card = figure.closest("[data-card]");
    open(card, [...card.querySelectorAll("figure")].indexOf(figure));
  });
  dialog.addEventListener("close", () => {
    blink();
    view.card.scrollIntoView({ block: "nearest" });
    (view.pictures[view.opened] ?? view.pictures[0]).link.focus({ preventScroll: true });
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", pressKey);
  part("modes").addEventListener("change", (event) => compareBy(event.target.value));
  for (const side of ["left", "right"]) part(side).addEventListener("change", () => choose(side, Number(part(side).value)));
  part("cut").addEventListener("input", (event) => cut(event.target.value));
  part("swap").addEventListener("click", swap);
  part("itself").addEventListener("change", blink);
  part("gain").addEventListener("change", (event) => stage.style.setProperty("--gain", event.target.value));
  part("before").addEventListener("click", () => step(-1));
  part("after").addEventListener("click", () => step(1));
  part("smaller").addEventListener("click", () => zoomTo(view.zoom / STEP));
  part("larger").addEventListener("click", () => zoomTo(view.zoom * STEP));
  part("whole").addEventListener("click", () => zoomTo(1));
  part("help").addEventListener("click", toggleKeys);
  part("close").addEventListener("click", () => dialog.close());
  for (const [name, act] of Object.entries({ pointerdown: press, pointermove: drag, pointerup: release, pointercancel: release })) stage.addEventListener(name, act);
  stage.addEventListener("wheel", wheel, { passive: false });
  stage.addEventListener("dblclick", (event) => zoomTo(view.zoom > 1 ? 1 : 3, spot(event)));
  part("itself").checked = !calm.matches;
  calm.addEventListener("change", () => {
    part("itself").checked = !calm.matches;
    blink();
  });
})();
