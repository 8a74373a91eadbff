// The page: the paper, the runs, the verdicts, and the questions to the server. The part under
// "Look inside" is in inside.js; index.html and texts.js have the texts.

import {closeSum, DIGITS, element, MOVES, make, paint, placeOfMost, showInside} from "./inside.js";
import {language, number, percent, sentenceOf, speakLanguage, text} from "./texts.js";

const SIDES = ["left", "right"];
const VIEWS = ["as-drawn", "centred"];
const WEAK = 0.5; // a network with a lower test accuracy is shown with a warning
const canvas = element("canvas");
const [PAPER, PEN] = [Number(canvas.dataset.paper), Number(canvas.dataset.pen)]; // as the server draws

let strokes = []; // the drawing: lists of points [x, y] from 0 to PAPER
let drawings = 0; // how often the drawing has changed
const pens = new Map(); // pointer: the stroke that it draws, or null while it is outside the paper
const keyboard = {x: PAPER / 2, y: PAPER / 2, stroke: null, held: new Set()};

let runs = []; // the server's last list, the newest first
let start = null; // the names of the two runs that the server proposes
const choice = SIDES.map((side) => remembered(`run-${side}`) ?? ""); // the run chosen by hand, or ""
const progress = new Map(); // name of a run: its step, and when the page first saw that step

let answer = null; // what the server says about the drawing, or null
let answered = null; // the question that it answers, see question()
let insideIsDue = false; // the inside could not be shown completely: ask again
let weights = {}; // the last that the server sent, and the key of their network
let trouble = null; // the last error, or null
let speaking; // the timer of speak()

const cards = VIEWS.flatMap((view) =>
  SIDES.map((name, side) => {
    const card = element("card").content.cloneNode(true).firstElementChild;
    Object.assign(card.dataset, {view, side: name});
    card.querySelector(".bars").append(...DIGITS.map((digit) => make("i", {textContent: digit})));
    element(view).append(card);
    return {view, side, part: (selector) => card.querySelector(selector)};
  }),
);

// The language and "Look inside" are remembered permanently, the chosen runs until the tab is closed.
function remembered(key, value) {
  try {
    const storage = key.startsWith("run-") ? sessionStorage : localStorage;
    if (value !== undefined) storage.setItem(key, value);
    return storage.getItem(key);
  } catch {
    return null; // the browser forbids storage: a choice holds until the page is left
  }
}

// ---------------------------------------------------------------- talking to the server

class Trouble extends Error {} // with `code`, and `error` and `chinese` from the server

async function ask(path, body) {
  const post = body && {method: "POST", body: JSON.stringify(body)};
  const gone = () => Promise.reject(Object.assign(new Trouble(), {code: "server-gone"}));
  const response = await fetch(path, {signal: AbortSignal.timeout(10_000), ...post}).catch(gone);
  const content = await response.json().catch(gone);
  if (!response.ok) throw Object.assign(new Trouble(), content);
  return content;
}

function alarm(error) {
  if (error && !(error instanceof Trouble)) return reportError(error);
  trouble = error;
  const sentence = error ? sentenceOf(error) : "";
  if (element("alarm").textContent !== sentence) element("alarm").textContent = sentence;
}

// Return a function that runs `work` once at a time, and again if it was called during a run.
function latest(work) {
  let calls = 0; // since the work began
  return async () => {
    calls += 1;
    if (calls > 1) return;
    for (let done = 0; done !== calls; ) {
      done = calls;
      await work().catch(alarm);
    }
    calls = 0;
  };
}

// ---------------------------------------------------------------- the runs

const runOf = (side) => runs.find(({name}) => name === (choice[side] || start[side]));
const stateOf = (run) => run && `${run.name} ${run.started} ${run.step}`;
const isWeak = (run) => typeof run?.accuracy === "number" && run.accuracy < WEAK;
const isLearning = ({name, status}) =>
  status === "running" && Date.now() - progress.get(name).since < 60_000;

const byAccuracy = (a, b) => b.accuracy - a.accuracy;
const bestOf = (network) => runs.filter((run) => run.network === network).sort(byAccuracy)[0];

function choose(side, name) {
  choice[side] = name;
  remembered(`run-${SIDES[side]}`, name);
  element("notice").textContent = "";
  showRuns();
  update();
}

function dataName(data) {
  const folder = data.match(/^the files in (.*), which are not MNIST's official ones$/)?.[1];
  if (folder) return text("data-files", {folder});
  return data === "MNIST" ? data : text("data-generated");
}

function optionText({name, learning_rate: rate, epochs, step, accuracy, data}) {
  const facts = [text("run-steps", {steps: number(epochs ?? step)})];
  if (rate !== null) facts.unshift(text("run-rate", {rate}));
  if (data !== null) facts.push(dataName(data));
  const option = text("run-option", {run: name, facts: facts.join(text("comma"))});
  return accuracy === null ? option : `${percent(accuracy, 2)} · ${option}`;
}

function factsText(run) {
  const {accuracy, images, data} = run;
  const steps = {step: number(run.step), epochs: number(run.epochs ?? run.step)};
  const training = text(isLearning(run) ? "run-learning" : "run-at", steps) + text("space");
  if ([accuracy, images, data].includes(null)) return training + text("run-untested");
  const tested = {accuracy: percent(accuracy, 2), images: number(images), data: dataName(data)};
  return training + text("run-reads", tested);
}

function showRuns() {
  SIDES.forEach((name, side) => {
    const box = document.querySelector(`.run[data-side=${name}]`);
    const [select, facts, best] = box.querySelectorAll("select, p, button");
    const run = start && runOf(side);
    const better = isWeak(run) && bestOf(run.network);
    const title = text(`card-${name}`, {network: run ? text(run.network) : "–"});
    const weak = isWeak(run) ? text("weak", {accuracy: percent(run.accuracy)}) : "";
    fillSelect(select, side);
    facts.textContent = run ? factsText(run) : start ? text("no-run") : "";
    facts.classList.toggle("learning", Boolean(run && isLearning(run)));
    best.hidden = !better || isWeak(better);
    best.value = better?.name ?? "";
    best.textContent = better ? text("best", {accuracy: percent(better.accuracy, 2)}) : "";
    element("which-network").querySelectorAll("span")[side].textContent = title;
    for (const {part} of cards.filter((card) => card.side === side)) {
      part("h3").textContent = title;
      part(".weak").textContent = weak;
    }
  });
}

function fillSelect(select, side) {
  if (select !== document.activeElement) {
    const follow = start?.[side] && text(`follow-${SIDES[side]}`, {run: start[side]});
    const groups = ["convolutional", "softmax"].map((network) => {
      const members = runs.filter((run) => run.network === network);
      const options = members.map((run) => new Option(optionText(run), run.name));
      return make("optgroup", {label: text(network), hidden: !members.length}, ...options);
    });
    select.replaceChildren(...(follow ? [new Option(follow, "")] : []), ...groups);
  }
  select.value = choice[side];
}

// Called once a second: runs appear, learn and are deleted, and the server may stop and restart.
const followRuns = latest(async () => {
  if (document.hidden) return;
  const isFirst = start === null; // then it is not known whether a run is still training
  const listed = await ask("api/runs");
  ({runs, start} = listed);
  if (isFirst && listed.old) {
    element("notice").textContent = text("old-runs", {count: number(listed.old)});
  }
  if (trouble?.code === "server-gone") alarm(null);
  for (const {name, step} of runs) {
    if (progress.get(name)?.step !== step) {
      progress.set(name, {step, since: isFirst ? 0 : Date.now()});
    }
  }
  choice.forEach((chosen, side) => {
    if (!chosen || runs.some(({name}) => name === chosen)) return;
    choice[side] = "";
    const names = {run: chosen, instead: start[side] ?? "–"};
    element("notice").textContent = text("run-deleted", names);
  });
  showRuns();
  if (strokes.length && question() !== answered) update();
  else if (insideIsDue) updateInside();
});

// ---------------------------------------------------------------- the verdicts

// What is asked: the drawing and the state of both runs.
const question = () => [drawings, ...SIDES.map((_, side) => stateOf(runOf(side)))].join();

const update = latest(async () => {
  if (!start) return;
  const asked = question();
  const names = SIDES.map((_, side) => runOf(side)?.name ?? null);
  const isAnswerable = strokes.length && names.some(Boolean);
  let received = null;
  answered = null;
  try {
    if (isAnswerable) received = await ask("api/drawing", {strokes, runs: names});
    if (received || trouble?.code !== "server-gone") alarm(null);
    answered = asked;
  } catch (error) {
    alarm(error);
    // The server no longer lists such a run, and another takes its place. The sentence stays.
    const isLost = ["damaged-run", "no-logits", "needs-more"].includes(error.code);
    if (isLost) element("notice").textContent = sentenceOf(error);
  }
  answer = strokes.length ? received : null; // the paper may have been cleared meanwhile
  showVerdicts();
  updateInside();
});

function showVerdicts() {
  for (const {view, side, part} of cards) {
    const shares = answer?.[view].answers[side];
    const best = shares ? placeOfMost(shares) : null;
    const bars = [...part(".bars").children];
    bars.forEach((bar, digit) => {
      const share = shares?.[digit] ?? 0;
      bar.title = text("colon", {what: digit, value: percent(share)});
      bar.style.setProperty("--probability", share);
      bar.classList.toggle("wins", digit === best);
    });
    const said = shares ? bars.map((bar) => bar.title).join(text("comma")) : text("nothing");
    part(".bars").setAttribute("aria-label", said);
    part(".digit").textContent = best ?? "";
    part(".sure").textContent = shares ? percent(shares[best]) : "";
  }
  for (const view of VIEWS) {
    paint(element(view).querySelector("canvas"), answer?.[view].picture ?? [], 255, "--ink");
  }
  clearTimeout(speaking);
  speaking = setTimeout(speak, 700); // when the drawing has not changed for a while
}

// Say the verdicts to screen readers.
function speak() {
  const sentences = cards.map(({view, part}) => {
    const [network, digit] = [part("h3").textContent, part(".digit").textContent];
    return text("spoken", {view: element(`${view}-name`).textContent, network, digit});
  });
  element("spoken").textContent = answer ? sentences.join(text("space")) : text("empty");
}

const chosen = (name) => Number(document.querySelector(`[name=${name}]:checked`).value);

const updateInside = latest(async () => {
  insideIsDue = false;
  if (!element("look").open) return;
  const [view, run] = [chosen("view"), start && runOf(chosen("side"))];
  if (!answer || !run) return showInside(null);
  const images = VIEWS.map((name) => answer[name].picture.map((value) => value / 255));
  try {
    const questions = images.map((image) => ask("api/inside", {image, run: run.name}));
    const answers = await Promise.all(questions);
    const {run: name, started, step, similar} = answers[view];
    // Without the training digits, the server does not know the dead neurons yet.
    const key = stateOf({name, started, step}) + Boolean(similar.length);
    const path = `api/weights?${new URLSearchParams({run: name})}`;
    if (weights.key !== key) weights = {key, ...(await ask(path))};
    insideIsDue = answers.some(({similar_error: error}) => error?.code === "reading");
    if (answer) showInside({view, images, answers, weights, run});
  } catch (error) {
    insideIsDue = true;
    if (!["busy-run", "no-such-run"].includes(error.code)) throw error;
  }
});

element("look").addEventListener("change", updateInside);
element("look").addEventListener("toggle", ({target}) => {
  remembered("look-inside", target.open ? "open" : "closed");
  updateInside();
});

// ---------------------------------------------------------------- drawing, buttons and keys

const within = (value) => Math.min(Math.max(value, 0), PAPER);

function begin(x, y) {
  const stroke = [[Math.round(x), Math.round(y)]];
  strokes.push(stroke);
  return stroke;
}

function extend(stroke, x, y) {
  const point = [x, y].map((value) => Math.round(within(value)));
  const [lastX, lastY] = stroke.at(-1);
  if (Math.hypot(point[0] - lastX, point[1] - lastY) >= 2) stroke.push(point); // closer points would not be visible
}

function clear() {
  strokes = [];
  for (const pointer of pens.keys()) pens.set(pointer, null);
  keyboard.stroke = null;
  showPen();
  drawn();
}

function drawn() {
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / PAPER, 0, 0, canvas.height / PAPER, 0, 0);
  context.clearRect(0, 0, PAPER, PAPER);
  const strokeStyle = getComputedStyle(canvas).color;
  Object.assign(context, {strokeStyle, lineWidth: PEN, lineCap: "round", lineJoin: "round"});
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(stroke[0][0] - 0.01, stroke[0][1]); // a line without length would not be drawn
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
  canvas.parentElement.classList.toggle("drawn", strokes.length > 0);
  drawings += 1;
  update();
}

function placeOf(event) {
  const {left, top, width} = canvas.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top].map((value) => (value * PAPER) / width);
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  pens.set(event.pointerId, begin(...placeOf(event)));
  drawn();
});

canvas.addEventListener("pointermove", (event) => {
  if (!pens.has(event.pointerId)) return;
  const parts = event.getCoalescedEvents?.() ?? [];
  for (const [x, y] of (parts.length ? parts : [event]).map(placeOf)) {
    const stroke = pens.get(event.pointerId);
    const isOnPaper = x === within(x) && y === within(y);
    if (stroke) extend(stroke, x, y);
    pens.set(event.pointerId, isOnPaper ? (stroke ?? begin(x, y)) : null);
  }
  drawn();
});

for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (event) => pens.delete(event.pointerId));
}

function showPen() {
  const [left, top] = [keyboard.x, keyboard.y].map((value) => `${(100 * value) / PAPER}%`);
  Object.assign(element("pen").style, {left, top});
  element("pen").classList.toggle("down", keyboard.stroke !== null);
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    keyboard.stroke = keyboard.stroke ? null : begin(keyboard.x, keyboard.y);
  } else if (event.key in MOVES) {
    keyboard.held.add(event.key);
    for (const [right, down] of [...keyboard.held].map((key) => MOVES[key])) {
      keyboard.x = within(keyboard.x + 5 * right);
      keyboard.y = within(keyboard.y + 5 * down);
    }
    if (keyboard.stroke) extend(keyboard.stroke, keyboard.x, keyboard.y);
  } else {
    return;
  }
  event.preventDefault(); // arrows and space would scroll the page
  showPen();
  if (keyboard.stroke) drawn();
});
canvas.addEventListener("keyup", (event) => keyboard.held.delete(event.key));
canvas.addEventListener("blur", () => {
  keyboard.held.clear();
  keyboard.stroke = null;
  showPen();
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches?.("select")) return; // there, letters choose an option
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && closeSum()) return;
  if (["Escape", "Delete", "c", "C"].includes(event.key)) clear();
});
element("clear").addEventListener("click", clear);
element("edge").addEventListener("click", () => {
  clear();
  strokes.push([
    [234, 84],
    [258, 60],
    [258, 220],
  ]); // a 1 with a flag, at the right edge
  drawn();
});
SIDES.forEach((name, side) => {
  const [select, best] = document.querySelectorAll(`.run[data-side=${name}] :is(select, button)`);
  select.addEventListener("change", () => choose(side, select.value));
  select.addEventListener("blur", showRuns); // while it had the focus, its list was not updated
  best.addEventListener("click", () => choose(side, best.value));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawn);

// ---------------------------------------------------------------- the reader's language, and the start

function showLanguage(wanted) {
  speakLanguage(wanted);
  document.querySelector(`[name=language][value=${language}]`).checked = true;
  alarm(trouble);
  element("notice").textContent = "";
  showRuns();
  showVerdicts();
  showInside();
}

element("languages").addEventListener("change", ({target}) => {
  remembered("language", target.value);
  showLanguage(target.value);
});

showLanguage(remembered("language"));
element("alarm").classList.remove("late");
element("look").open = remembered("look-inside") === "open";
followRuns();
setInterval(followRuns, 1000);
