// Asks the server for everything and shows it by textContent: no title is ever read as markup.
"use strict";

const FEW = 3; // titles that say enough, so that none need be offered
const SMALL = 5e-5; // less than that is 0.0000
const $ = (id) => document.getElementById(id);
const state = {
  token: null, // in memory alone
  liked: [], // items
  moved: new Map(), // weights by signal, where they are not as learned
  gate: true,
  shown: new Map(), // by view
  wellKnown: [],
  options: [], // of the combobox
  fresh: false, // are they of what is typed now?
  entered: false, // is the first to be chosen once they are?
  active: -1, // of these
  stale: true, // are views shown of what one liked before?
  panel: null, // { item, view } it is about
};

function element(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
  made.append(...children);
  return made;
}

const called = (item) => item.title.trim() || `item ${item.item_id}`;
const figure = (value, digits = 4) =>
  (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits);
const say = (text) => { $("said").textContent = text; };
const likes = (item) => state.liked.some((one) => one.item_id === item.item_id);

// what the server says

class Refused extends Error {}

async function ask(path, body, signal) {
  if (state.token !== null && !/^[!-~]*$/.test(state.token)) { // the browser would not send it
    askForToken();
    throw new Refused("no token has such letters; it is ASCII without blanks");
  }
  const headers = state.token === null ? {} : { Authorization: `Bearer ${state.token}` };
  const options = { headers, signal };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  const answer = await fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Refused("the server does not answer; is it running?");
  });
  if (answer.status === 401) askForToken();
  const found = await answer.json();
  if (!answer.ok) throw new Refused(`${found.detail}; ${found.remedy}`);
  return found;
}

let failed = null; // whose error is shown, which no other's success takes away

// the latest of its kind alone: what was asked before is dropped, and all by `drop`
function latest(work) {
  let last = null;
  const run = async (...args) => {
    last?.abort();
    const own = (last = new AbortController());
    try {
      await work(own.signal, ...args);
      if (last === own && failed === run) $("error").hidden = true;
    } catch (error) {
      if (error.name === "AbortError" || last !== own) return;
      if (!(error instanceof Refused)) throw error;
      $("lists").removeAttribute("aria-busy");
      failed = run;
      $("error").textContent = error.message;
      $("error").hidden = false;
    }
  };
  run.drop = () => last?.abort();
  return run;
}

function delayed(work, milliseconds) {
  let waiting;
  return (...args) => {
    clearTimeout(waiting);
    waiting = setTimeout(work, milliseconds, ...args);
  };
}

const begin = latest(async (signal) => {
  const [health, items] = await Promise.all([
    ask("health", undefined, signal),
    ask("items?limit=8", undefined, signal),
  ]);
  $("model").textContent = `${health.model}, ${health.row}`;
  state.wellKnown = items;
  $("token-form").hidden = true;
  $("exploring").hidden = false;
  showLiked();
  if (state.token !== null) $("title").focus();
  refresh();
});

function askForToken() {
  $("exploring").hidden = true;
  $("docs").hidden = true; // a link sends no token
  $("token-form").hidden = false;
  if ($("panel").open) $("panel").close();
  $("token").value = "";
  $("token").focus();
}

// what one likes

function like(item) {
  if (!likes(item)) state.liked.push(item);
  showLiked();
  refresh();
}

function unlike(place) {
  const [item] = state.liked.splice(place, 1);
  showLiked();
  const buttons = $("liked").querySelectorAll("button");
  (buttons[Math.min(place, buttons.length - 1)] ?? $("title")).focus();
  say(`${called(item)} is removed`);
  refresh();
}

function showLiked() {
  state.stale = true;
  const chips = state.liked.map((item, place) =>
    element("li", {}, element("span", { textContent: called(item) }),
      element("button", {
        textContent: "\u00d7", aria: { label: `Remove ${called(item)}` }, onclick: () => unlike(place),
      })));
  $("liked").replaceChildren(...chips);
  const offered = state.wellKnown.filter((item) => !likes(item));
  const buttons = offered.map((item, place) =>
    element("li", {}, element("button", {
      textContent: called(item),
      onclick: () => {
        like(item);
        const left = $("well-known").querySelectorAll("button");
        const there = $("known").hidden ? undefined : left[Math.min(place, left.length - 1)];
        (there ?? $("title")).focus();
      },
    })));
  $("well-known").replaceChildren(...buttons);
  $("known").hidden = state.liked.length >= FEW || !offered.length;
}

// the combobox, as the ARIA Authoring Practices Guide has it: list autocomplete, first one selected

const complete = latest(async (signal) => {
  const typed = $("title").value.trim();
  if (!typed) return close();
  const found = await ask(`items?q=${encodeURIComponent(typed)}&limit=12`, undefined, signal);
  state.options = found.filter((item) => !likes(item)).slice(0, 8);
  const options = state.options.map((item, place) =>
    element("li", {
      id: `option-${place}`, role: "option", textContent: called(item), onclick: () => choose(place),
    }));
  $("found").replaceChildren(...options);
  state.fresh = true;
  if (!options.length) {
    close();
    $("none").textContent = `no title with words that begin so: ${typed}`;
    return;
  }
  $("none").textContent = "";
  $("found").hidden = false;
  $("title").setAttribute("aria-expanded", "true");
  activate(0);
  if (state.entered) return choose(0);
  say(`${options.length} ${options.length === 1 ? "title" : "titles"}`);
});
const completeSoon = delayed(complete, 120);

function activate(place) {
  const options = [...$("found").children];
  state.active = (place + options.length) % options.length;
  options.forEach((option, at) => option.setAttribute("aria-selected", at === state.active));
  options[state.active].scrollIntoView({ block: "nearest" });
  $("title").setAttribute("aria-activedescendant", options[state.active].id);
}

function close() {
  complete.drop();
  state.entered = false;
  $("found").hidden = true;
  $("none").textContent = "";
  $("title").setAttribute("aria-expanded", "false");
  $("title").removeAttribute("aria-activedescendant");
}

function choose(place) {
  const item = state.options[place];
  $("title").value = "";
  close();
  like(item);
}

function onKey(event) {
  const open = !$("found").hidden;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (open) activate(state.active + (event.key === "ArrowDown" ? 1 : -1));
    else complete();
  } else if (event.key === "Enter" && $("title").value.trim()) {
    event.preventDefault();
    if (open && state.fresh) return choose(state.active);
    state.entered = true;
    complete();
  } else if (event.key === "Escape") {
    if (open) close();
    else $("title").value = "";
  }
}

// lists

const taste = () => ({
  liked: state.liked.map((item) => item.item_id),
  weights: Object.fromEntries(state.moved),
  gate: state.gate,
});

const refresh = latest(async (signal, views) => {
  const some = state.liked.length > 0;
  $("lists").hidden = $("skip").hidden = !some;
  $("weights").hidden = !some || !$("sliders").children.length;
  if (!some) return;
  $("lists").setAttribute("aria-busy", "true");
  const own = state.stale ? taste() : { ...taste(), views };
  const found = await ask("explore", own, signal);
  if (state.stale) state.shown.clear();
  state.stale = false;
  for (const seen of found.views) state.shown.set(seen.view, seen);
  $("synthetic").hidden = !found.synthetic;
  showLists();
  showWeights(found);
  $("lists").removeAttribute("aria-busy");
  const first = found.views.map((seen) =>
    seen.items.length ? `${seen.heading}: ${called(seen.items[0])}` : `${seen.heading}: nothing`);
  say(`First now: ${first.join("; ")}`);
});
const rerank = delayed(() => refresh(["model"]), 80);

function showLists() {
  const had = document.activeElement?.closest("#lists button")?.dataset;
  const columns = [...state.shown.values()].map((seen, place) => {
    const heading = element("h2", { textContent: seen.heading, id: `${seen.view}-title` });
    const told = seen.recommended_by === seen.row
      ? seen.told : `What you like says nothing to ${seen.row}; so what is ${seen.recommended_by}.`;
    return element("section", { className: place ? "" : "first", aria: { labelledby: heading.id } },
      heading, element("p", { className: "note", textContent: told }),
      element("ol", {}, ...seen.items.map((item) => listed(item, seen.view))));
  });
  $("lists").replaceChildren(...columns);
  if (had) focusAgain(had);
}

function focusAgain({ view, kind, item, place }) {
  const buttons = [...$("lists").querySelectorAll("button")].filter(
    ({ dataset }) => dataset.view === view && dataset.kind === kind);
  const same = buttons.find(({ dataset }) => dataset.item === item);
  (same ?? buttons.find(({ dataset }) => dataset.place === place) ?? $("lists")).focus();
}

function listed(item, view) {
  const also = [...state.shown.values()].flatMap((seen) => {
    const there = seen.items.find((one) => one.item_id === item.item_id);
    return seen.view !== view && there ? [`${seen.heading} ${there.rank}`] : [];
  });
  const data = { view, item: item.item_id, place: item.rank };
  return element("li", {},
    element("span", { className: "rank", textContent: item.rank }),
    titled(item, view, { ...data, kind: "title" }),
    element("span", { className: "score", textContent: figure(item.score, 3) }),
    adding(item, { ...data, kind: "add" }),
    ...(also.length ? [element("span", { className: "also", textContent: also.join(", ") })] : []));
}

const titled = (item, view, data = {}) => element("button", {
  className: "title", textContent: called(item), data, aria: { haspopup: "dialog" },
  onclick: () => open(item, view),
});

const adding = (item, data = {}) => element("button", {
  className: "add", textContent: "+", title: "I like it", data,
  aria: { label: `I like ${called(item)}` }, onclick: () => like(item),
});

// weights

function showWeights({ signals, gate, beside }) {
  const several = signals.length > 1;
  $("weights").hidden = !several;
  if (!several) return;
  if ($("sliders").children.length !== signals.length) {
    $("sliders").replaceChildren(...signals.map(slider));
  }
  const all = signals.flatMap(({ signal, learned }) => [learned, state.moved.get(signal) ?? learned]);
  const low = Math.floor(Math.min(0, ...all) * 10) / 10;
  const high = Math.ceil(Math.max(1, ...all) * 10) / 10;
  signals.forEach(({ signal, label, learned, least, most }, place) => {
    const own = $("sliders").children[place], input = own.querySelector("input");
    const shift = (state.moved.get(signal) ?? learned) - learned;
    own.querySelector("small").textContent = gate && state.gate
      ? `${label}, ${figure(least + shift, 2)} to ${figure(most + shift, 2)} by item` : label;
    own.dataset.learned = learned;
    Object.assign(input, { min: low, max: high });
    input.value = state.moved.get(signal) ?? learned;
    showMoved(own);
  });
  $("reset").disabled = !state.moved.size && state.gate;
  $("gate-line").hidden = !gate && !beside;
  $("gate").checked = state.gate;
  $("gate-label").textContent = gate
    ? "Vary them by item, as learned" : "Give items what was learned for how many have them";
  $("gate-note").textContent =
    `(without it a weight is what its slider says, for every item${
      beside ? ", and how many have an item counts for nothing" : ""})`;
  $("weights-note").textContent =
    "What a standard deviation of each signal\u2019s scores counts for. " +
    (gate
      ? "A gate has learned to vary this by how much you like, and by how many have an item: a" +
        " slider is the mean for you, and moving it shifts the weight of all items alike."
      : "Learned once, the same for everybody and for every item.");
}

function slider({ signal }, place) {
  const id = `weight-${place}`;
  const input = element("input", { type: "range", id, step: 0.05, data: { signal } });
  const own = element("div", { className: "slider", data: { signal } },
    element("label", { htmlFor: id, textContent: signal }),
    element("span", { className: "value", aria: { hidden: true } }),
    element("small", { className: "note", id: `${id}-note` }), input);
  input.setAttribute("aria-describedby", `${id}-note`);
  input.addEventListener("input", () => {
    state.moved.set(signal, Number(input.value));
    showMoved(own);
    $("reset").disabled = false;
    rerank();
  });
  return own;
}

function showMoved(own) {
  const { signal, learned } = own.dataset, moved = state.moved.get(signal);
  own.classList.toggle("moved", moved !== undefined);
  const value = figure(moved ?? Number(learned), 2);
  own.querySelector(".value").textContent = value;
  const told = moved === undefined ? `${value}, as learned` : `${value}, learned ${figure(Number(learned), 2)}`;
  own.querySelector("input").setAttribute("aria-valuetext", told);
}

// why, and what is similar

const open = latest(async (signal, item, view) => {
  state.panel = { item, view };
  if (!$("panel").open) {
    state.opener = document.activeElement?.dataset;
    $("panel").showModal();
  }
  $("panel-title").textContent = called(item);
  for (const id of ["why", "similar"]) $(id).replaceChildren();
  $("why-line").textContent = "\u2026";
  $("space-line").hidden = true;
  showLikeButton();
  $("panel").scrollTop = 0;
  $("panel-title").focus();
  const id = encodeURIComponent(item.item_id);
  const orSay = (show) => (error) => { // in the panel, which lies over all else
    if (!(error instanceof Refused)) throw error;
    show(error.message);
  };
  await Promise.all([
    ask("explore/why", { ...taste(), item: item.item_id, view }, signal)
      .then(showWhy, orSay((message) => { $("why-line").textContent = message; })),
    ask(`items/${id}/similar?k=8`, undefined, signal)
      .then(showSimilar, orSay((message) => { $("similar").textContent = message; })),
  ]);
});

function showLikeButton() {
  const { item } = state.panel;
  $("like").textContent = likes(item) ? "You like it" : "I like it";
  $("like").disabled = likes(item);
}

function showWhy(found) {
  const by = found.row + (state.panel.view === "model" && (state.moved.size || !state.gate) ? ", by your weights" : "");
  const place = `${found.rank.toLocaleString("en")} of ${found.candidates.toLocaleString("en")}`;
  $("why-line").textContent = (found.liked ? "You like it; this is as if that were not known. " : "") +
    (found.strange ? `What you like says nothing to the model: what others like decides. ` : "") +
    `Rank ${place} by ${by}, score ${figure(found.score)}.`;
  const sum = (name) => found.signals.reduce((total, of) => total + of[name], 0);
  const beside = ["how many have it", found.of_familiarity];
  const tables = [];
  if (found.signals.length > 1) {
    const rows = [...found.signals].sort((one, other) => other.part - one.part).map((of) =>
      [of.signal, figure(of.weight), figure(of.standardised, 2), figure(of.part)]);
    if (Math.abs(beside[1]) >= SMALL) rows.push([beside[0], "", "", figure(beside[1])]);
    tables.push(table("By signal: weight times standardised score",
      ["signal", "weight", "standardised", "part"], rows, ["score", "", "", figure(found.score)]));
  }
  const known = found.known.map((item) => [called(item), item.part]);
  const rest = [
    ["the item itself, whoever asks", sum("of_item")],
    ["less the mean of what you can get", sum("of_mean")],
    ["rest: the fit ends short of its minimum", sum("rest")],
    beside,
  ].filter(([, part]) => Math.abs(part) >= SMALL);
  tables.push(table("By what you like", ["what speaks for it", "part"],
    [...known, ...rest].map(([name, part]) => [name, figure(part)]), ["score", figure(found.score)]));
  $("why").replaceChildren(...tables);
}

function table(caption, headings, rows, total) {
  const row = ([first, ...others]) => element("tr", {},
    element("th", { scope: "row", textContent: first }),
    ...others.map((text) => element("td", { textContent: text })));
  const head = headings.map((text) => element("th", { scope: "col", textContent: text }));
  return element("table", {}, element("caption", { textContent: caption }),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows.map(row)), element("tfoot", {}, row(total)));
}

function showSimilar(spaces) {
  const names = Object.keys(spaces);
  const show = () => $("similar").replaceChildren(...spaces[$("space").value].map((item) =>
    element("li", {}, element("span", { className: "rank", textContent: item.rank }),
      titled(item, state.panel.view),
      element("span", { className: "score", textContent: figure(item.score, 3) }))));
  const before = $("space").value;
  $("space").replaceChildren(...names.map((name) => element("option", { textContent: name, value: name })));
  if (names.includes(before)) $("space").value = before;
  $("space").onchange = show;
  $("space-line").hidden = names.length < 2;
  show();
}

// the page

document.addEventListener("DOMContentLoaded", () => {
  $("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    state.token = $("token").value;
    begin();
  });
  const title = $("title");
  title.addEventListener("input", () => {
    state.fresh = state.entered = false;
    completeSoon();
  });
  title.addEventListener("keydown", onKey);
  title.addEventListener("blur", close);
  $("found").addEventListener("pointerdown", (event) => event.preventDefault()); // focus stays
  $("reset").addEventListener("click", () => {
    state.moved.clear();
    state.gate = true;
    $("sliders").querySelector("input").focus();
    refresh(["model"]);
  });
  $("gate").addEventListener("change", () => {
    state.gate = $("gate").checked;
    refresh(["model"]);
  });
  $("close").addEventListener("click", () => $("panel").close());
  $("like").addEventListener("click", () => {
    like(state.panel.item);
    showLikeButton();
    $("panel-title").focus();
    say(`${called(state.panel.item)} is added`);
  });
  $("panel").addEventListener("click", (event) => {
    if (event.target === $("panel")) $("panel").close(); // beside it
  });
  $("panel").addEventListener("close", () => {
    // the browser gives focus back, unless what was focused has been listed anew
    if (state.opener?.view && !document.activeElement?.closest("#lists")) focusAgain(state.opener);
  });
  begin();
});
