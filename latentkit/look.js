// The parts of the inspector that plain widgets cannot do: a list of any length, a page to click, a plane of points.
// `latentkit/look.py` has their Python sides. No build step, and nothing is loaded from elsewhere.

const make = (tag, name, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  if (name) element.className = name;
  element.append(...children);
  return element;
};
const between = (low, value, high) => Math.max(low, Math.min(value, high));
const changed = (model, names, act) => names.forEach((name) => model.on(`change:${name}`, act));

// ---- a list that draws only what is in view

const ROW = 26, PAGE = 100; // pixels a line; lines that are asked for at once

function list({ model, el }) {
  const space = make("div", "lk-space");
  const box = make("div", "lk-list", { tabIndex: 0 }, space);
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", "what is listed");
  el.append(box);
  let known = new Map(), asked = new Set();

  const line = (place) => {
    const [sign, number, text] = known.get(place) ?? ["", "", "…"];
    const row = make("div", "lk-line", { title: text },
      make("span", "sign", {}, sign), make("b", "", {}, number), make("span", "text", {}, text));
    row.style.top = `${place * ROW}px`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", place === model.get("place"));
    row.onclick = () => { model.set("place", place); model.save_changes(); };
    return row;
  };
  const draw = () => {
    const count = model.get("count");
    space.style.height = `${count * ROW}px`;
    const first = between(0, Math.floor(box.scrollTop / ROW), Math.max(0, count - 1));
    const last = Math.min(count, first + Math.ceil((box.clientHeight || 16 * ROW) / ROW) + 1);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) {
      if (known.has(page * PAGE) || asked.has(page)) continue;
      asked.add(page);
      model.send({ page });
    }
    space.replaceChildren(...Array.from({ length: Math.max(0, last - first) }, (_, n) => line(first + n)));
  };
  const show = () => { // bring the place into view
    const top = model.get("place") * ROW;
    if (top >= 0 && (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight))
      box.scrollTop = top - box.clientHeight / 3;
    draw();
  };
  model.on("msg:custom", ({ page, lines, version }) => {
    if (version !== model.get("version")) return;
    lines.forEach((one, n) => known.set(page * PAGE + n, one));
    draw();
  });
  changed(model, ["version"], () => { known = new Map(); asked = new Set(); show(); });
  changed(model, ["count", "place"], show);
  box.onscroll = draw;
  const sizes = new ResizeObserver(show);
  sizes.observe(box);
  return () => sizes.disconnect();
}

// ---- a page of HTML: data-go leads to another page, data-pick chooses; keys

const KEYS = {
  j: "next", ArrowDown: "next", k: "previous", ArrowUp: "previous", PageDown: "page down", PageUp: "page up",
  Home: "first", End: "last", w: "wrong", d: "doubtful", u: "undo", b: "back", "[": "back", f: "forward",
  "]": "forward", 1: "caption", 2: "text", 3: "picture", 4: "map", 5: "grid", a: "all", x: "none",
};
const SHEET = [
  ["j, ↓ / k, ↑", "next, previous"], ["page down, page up", "ten further, ten back"], ["home, end", "first, last"],
  ["w, d", "mark as wrong, doubtful, and go on"], ["u", "undo the last mark"], ["/", "search"],
  ["b, [ / f, ]", "back, forward"], ["1 … 5", "the tabs"], ["space", "enlarge a picture, then the next ones; again or esc: close"],
  ["tab, enter", "to the next picture or caption; open it"], ["a, x", "in the grid: choose all, none"], ["?", "this sheet"],
];
const TYPED = "input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable], [role=slider]";

function page({ model, el }) {
  const content = make("div", "lk-page"), large = make("div", "lk-large"), sheet = make("dl", "lk-sheet");
  for (const [key, does] of SHEET) sheet.append(make("dt", "", {}, key), make("dd", "", {}, does));
  large.hidden = sheet.hidden = true;
  el.append(content, large, sheet);
  const root = () => el.closest(".lk-inspector") ?? el;
  const known = new Map(); // picture -> its large version
  let under = null, waits = 0, last = null, wanted = null, stays = false;

  const write = () => {
    const again = document.activeElement?.closest?.(".lk-page") === content && document.activeElement.dataset.go;
    content.innerHTML = model.get("html");
    for (const one of content.querySelectorAll("[data-go], [data-pick]")) {
      one.tabIndex = 0;
      one.setAttribute("role", one.dataset.pick ? "checkbox" : "link");
      if (again && one.dataset.go === again) one.focus();
    }
    const first = stays && (pictured(document.activeElement) ?? content.querySelector("[data-large]"));
    close();
    under = null;
    if (first) { stays = true; enlarge(first); }
    picked();
  };
  const picked = () => {
    const chosen = new Set(model.get("picked"));
    for (const one of content.querySelectorAll("[data-pick]"))
      one.setAttribute("aria-checked", chosen.has(+one.dataset.pick));
  };
  const pick = (one, range) => {
    const all = [...content.querySelectorAll("[data-pick]")], chosen = new Set(model.get("picked"));
    const from = range && all.includes(last) ? all.indexOf(last) : all.indexOf(one), to = all.indexOf(one);
    const on = range || !chosen.has(+one.dataset.pick);
    for (const each of all.slice(Math.min(from, to), Math.max(from, to) + 1))
      on ? chosen.add(+each.dataset.pick) : chosen.delete(+each.dataset.pick);
    last = one;
    model.set("picked", [...chosen]);
    model.save_changes();
  };
  const open = (event) => {
    const go = event.target.closest("[data-go]"), choice = event.target.closest("[data-pick]");
    if (go) model.send({ go: go.dataset.go });
    else if (choice) pick(choice, event.shiftKey);
    else return;
    event.preventDefault();
  };
  content.onclick = open;

  // pictures: the large version after a moment's hover, or by space; the latter stays from caption to caption
  const pictured = (element) => element?.closest?.("[data-large]");
  const close = () => { clearTimeout(waits); large.hidden = true; wanted = null; stays = false; };
  const enlarge = (element) => {
    wanted = element.dataset.large;
    if (!known.has(wanted)) return model.send({ large: wanted });
    large.replaceChildren(make("img", "", { src: known.get(wanted), alt: element.title }),
      make("p", "", {}, element.title));
    large.hidden = false;
    const { left, right, top } = element.getBoundingClientRect(), width = large.offsetWidth;
    large.style.left = `${right + 8 + width < innerWidth ? right + 8 : Math.max(4, left - width - 8)}px`;
    large.style.top = `${between(4, top, Math.max(4, innerHeight - large.offsetHeight - 4))}px`;
  };
  model.on("msg:custom", ({ large: picture, source }) => {
    if (!picture) return;
    known.set(picture, source);
    const element = content.querySelector(`[data-large="${picture}"]`);
    if (element && wanted === picture) enlarge(element);
  });
  content.onmouseover = (event) => {
    const element = pictured(event.target);
    if (element === under) return;
    under = element;
    if (stays) return; // a new page under a mouse that rests is no move
    close();
    if (element) waits = setTimeout(() => enlarge(element), 450);
  };
  content.onmouseleave = () => { under = null; if (!stays) close(); };

  const keys = (event) => {
    const at = event.target, ours = root();
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!ours.contains(at) && !(model.get("alone") && at === document.body)) return;
    if (event.key === "Escape") { sheet.hidden = true; at.blur?.(); return close(); }
    if (at.matches(TYPED)) return;
    if (event.key === "Enter" && content.contains(at)) return open(event);
    if (event.key === " " && (at.matches("button, input") || !content.querySelector("[data-large]"))) return;
    if (event.key === " " && (stays || !large.hidden)) close();
    else if (event.key === " ") { stays = true; enlarge(pictured(at) ?? under ?? content.querySelector("[data-large]")); }
    else if (event.key === "/") ours.querySelector("input[placeholder^=search]")?.focus();
    else if (event.key === "?") sheet.hidden = !sheet.hidden;
    else if (event.key in KEYS && !(at.matches(".lk-plane") && event.key.startsWith("Arrow"))) model.send({ key: KEYS[event.key] });
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", keys);

  // the address holds what is looked at, where the page is ours alone
  const address = () => model.get("alone") && model.get("address")
    && history.replaceState(null, "", `#${model.get("address")}`);
  const asked = () => model.get("alone") && location.hash.length > 1 && model.send({ address: location.hash.slice(1) });
  addEventListener("hashchange", asked);
  changed(model, ["html"], write);
  changed(model, ["picked"], picked);
  changed(model, ["address"], address);
  write();
  if (!asked()) address();
  return () => { document.removeEventListener("keydown", keys); removeEventListener("hashchange", asked); };
}

// ---- a plane of points: drag and wheel to move, shift and drag for a lasso, hover, click

const inside = (x, y, path) => { // is a point inside a closed path? the even-odd rule
  let odd = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [ax, ay] = path[i], [bx, by] = path[j];
    if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
};

function plane({ model, el }) {
  const canvas = make("canvas", "lk-plane", { tabIndex: 0 }), tip = make("div", "lk-tip");
  canvas.setAttribute("aria-label", "captions and pictures on one plane; arrows move, plus and minus zoom");
  el.classList.add("lk-sky");
  el.append(canvas, tip);
  tip.hidden = true;
  const context = canvas.getContext("2d"), tips = new Map();
  let xy, shade, colours, view = { x: 0, y: 0, scale: 1 }, drag = null, path = [], over = -1, pending = 0;

  const numbers = (name, Kind) => {
    const bytes = model.get(name);
    return new Kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  };
  const load = () => {
    xy = numbers("xy", Float32Array);
    shade = numbers("shade", Uint8Array);
    colours = model.get("colours").map((c) => (255 << 24) | parseInt(c.slice(5, 7) + c.slice(3, 5) + c.slice(1, 3), 16));
    tips.clear();
    over = -1;
    later();
  };
  const size = () => Math.min(canvas.width, canvas.height) * .48 * view.scale; // device pixels a unit
  const toScreen = (n) => [canvas.width / 2 + (xy[2 * n] - view.x) * size(), canvas.height / 2 - (xy[2 * n + 1] - view.y) * size()];
  const spot = (event) => {
    const { left, top } = canvas.getBoundingClientRect(), ratio = canvas.width / canvas.clientWidth;
    return [(event.clientX - left) * ratio, (event.clientY - top) * ratio];
  };
  const draw = () => {
    pending = 0;
    const began = performance.now(), { width, height } = canvas, ratio = devicePixelRatio || 1;
    if (!width || !height || !xy) return;
    const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    const first = model.get("pictures"), count = shade.length, middle = size(), wides = [1.5, 3].map((n) => Math.round(n * ratio));
    for (let n = 0; n < count; n++) {
      const picture = n >= first, wide = wides[+picture], colour = colours[shade[n]];
      const x = Math.round(width / 2 + (xy[2 * n] - view.x) * middle), y = Math.round(height / 2 - (xy[2 * n + 1] - view.y) * middle);
      if (shade[n] === 255 || x < wide || y < wide || x >= width - wide || y >= height - wide) continue;
      for (let dy = -wide; dy <= wide; dy++) {
        const span = picture ? wide - Math.abs(dy) : wide, row = (y + dy) * width + x;
        if (picture) { pixels[row - span] = pixels[row + span] = colour; } // a diamond's edge
        else for (let at = row - span; at <= row + span; at++) pixels[at] = colour; // a square; `fill` is slower
      }
    }
    context.putImageData(image, 0, 0);
    const ink = getComputedStyle(el).color;
    context.strokeStyle = ink;
    context.lineWidth = 2 * ratio;
    for (const n of model.get("at")) {
      context.beginPath();
      context.arc(...toScreen(n), 7 * ratio, 0, 7);
      context.stroke();
    }
    if (model.get("at").length === 2) {
      context.setLineDash([4, 4]);
      context.beginPath();
      context.moveTo(...toScreen(model.get("at")[0]));
      context.lineTo(...toScreen(model.get("at")[1]));
      context.stroke();
      context.setLineDash([]);
    }
    if (path.length) {
      context.beginPath();
      path.forEach(([x, y]) => context.lineTo(x, y));
      context.stroke();
    }
    canvas.dataset.milliseconds = (performance.now() - began).toFixed(2);
  };
  const later = () => { pending ||= requestAnimationFrame(draw); };
  const zoom = (factor, [x, y] = [canvas.width / 2, canvas.height / 2]) => {
    const scale = between(.5, view.scale * factor, 400), grown = 1 / size();
    view = { ...view, scale };
    const left = grown - 1 / size();
    view.x += (x - canvas.width / 2) * left;
    view.y -= (y - canvas.height / 2) * left;
    later();
  };
  const nearest = ([x, y]) => {
    let best = -1, least = (9 * (devicePixelRatio || 1)) ** 2;
    for (let n = 0; n < shade.length; n++) {
      if (shade[n] === 255) continue;
      const [px, py] = toScreen(n), far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least) [best, least] = [n, far];
    }
    return best;
  };
  const hover = (event) => {
    over = nearest(spot(event));
    canvas.style.cursor = over < 0 ? "grab" : "pointer";
    tip.hidden = true;
    if (over < 0) return;
    if (!tips.has(over)) { tips.set(over, ""); model.send({ over }); }
    tell(event.offsetX, event.offsetY);
  };
  const tell = (x, y) => {
    if (!tips.get(over)) { tip.dataset.spot = JSON.stringify([x, y]); return; }
    tip.innerHTML = tips.get(over);
    tip.hidden = false;
    tip.style.left = `${between(0, x + 14, Math.max(0, canvas.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${between(0, y + 14, Math.max(0, canvas.clientHeight - tip.offsetHeight))}px`;
  };
  model.on("msg:custom", ({ over: point, html }) => {
    if (point === undefined) return;
    tips.set(point, html);
    if (point === over) tell(...JSON.parse(tip.dataset.spot ?? "[0, 0]"));
  });

  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { from: spot(event), view: { ...view }, lasso: event.shiftKey || model.get("lasso"), moved: false };
    path = drag.lasso ? [drag.from] : [];
    tip.hidden = true;
  };
  canvas.onpointermove = (event) => {
    if (!drag) return hover(event);
    const [x, y] = spot(event), [fromX, fromY] = drag.from;
    drag.moved ||= Math.hypot(x - fromX, y - fromY) > 4;
    if (drag.lasso) path.push([x, y]);
    else view = { ...drag.view, x: drag.view.x - (x - fromX) / size(), y: drag.view.y + (y - fromY) / size() };
    later();
  };
  canvas.onpointerup = (event) => {
    const { lasso, moved } = drag ?? {};
    if (lasso && moved) {
      const found = [];
      for (let n = 0; n < model.get("pictures"); n++) if (shade[n] !== 255 && inside(...toScreen(n), path)) found.push(n);
      model.send({ lasso: found });
    } else if (drag && !moved && nearest(spot(event)) >= 0) model.send({ point: nearest(spot(event)) });
    drag = null;
    path = [];
    later();
  };
  canvas.onpointercancel = () => { drag = null; path = []; later(); };
  canvas.onpointerleave = () => { tip.hidden = true; };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400), spot(event)); },
    { passive: false });
  canvas.ondblclick = () => { view = { x: 0, y: 0, scale: 1 }; later(); };
  canvas.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    const step = .1 / view.scale, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (event.key in moves) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; later(); }
    else if ("+=".includes(event.key)) zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else return;
    event.preventDefault();
  };
  const sizes = new ResizeObserver(() => {
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    later();
  });
  sizes.observe(canvas);
  changed(model, ["xy", "shade", "colours"], load);
  changed(model, ["at"], later);
  load();
  return () => sizes.disconnect();
}

export default { render: (context) => ({ list, page, plane })[context.model.get("part")](context) };
