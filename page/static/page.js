// The page: paper, runs, verdicts, and the talk with the server. What stands under "Look inside" is in inside.js,
// every word in texts.js.

import {LANGUAGES, has, language, number, percent, speakLanguage, text} from "./texts.js";
import {ARROWS, DIGITS, choices, closeSum, element, paint, showInside} from "./inside.js";

const SIDES = ["left", "right"];
const VIEWS = ["as-drawn", "centred"];
const WEAK = 0.5;  // a network that reads less of the test digits says so
const canvas = element("canvas");

// Language and "Look inside" are remembered for good, the chosen runs until this tab is closed.
const store = key => key.startsWith("run-") ? sessionStorage : localStorage;

function recall(key) {
  try { return store(key).getItem(key); } catch { return null; }  // a browser may forbid to remember
}

function remember(key, value) {
  try { store(key).setItem(key, value); } catch { /* then it holds until the page is left */ }
}

// ---------------------------------------------------------------- talking to the server

class Gone extends Error {}
class Refused extends Error {
  constructor({error, code}) {
    super(error);
    this.code = code;
  }
}

async function ask(path, body) {
  const options = {signal: AbortSignal.timeout(10_000), ...body && {method: "POST", body: JSON.stringify(body)}};
  let response, answer;
  try {
    response = await fetch(path, options);
    answer = await response.json();
  } catch {
    throw new Gone();
  }
  if (!response.ok) throw new Refused(answer);
  return answer;
}

const sentenceOf = error => error instanceof Gone ? text("server-gone") :
  has(error.code) ? text(error.code) : error.message;

let trouble = null;  // the last error, or null

function alarm(error) {
  if (error && !(error instanceof Gone || error instanceof Refused)) throw error;
  trouble = error;
  const sentence = error ? sentenceOf(error) : "";
  if (element("alarm").textContent !== sentence) element("alarm").textContent = sentence;
}

const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

// Make a function that does the work once at a time, at most once in each frame, and until the last change is done.
function latest(work) {
  let due = false, busy = false;
  return async function again() {
    due = true;
    if (busy) return;
    busy = true;
    try {
      while (due) {
        await new Promise(requestAnimationFrame);
        due = false;
        try {
          await work();
        } catch (error) {
          alarm(error);
          due ||= error instanceof Gone;
          if (due) await pause(1000);
        }
      }
    } finally {
      busy = false;
    }
  };
}

// ---------------------------------------------------------------- the runs

let runs = [], start = [null, null];  // as the server told them last
const choice = SIDES.map(side => recall(`run-${side}`) ?? "");  // a run chosen by hand; "" follows `start`
const steps = new Map();  // run: the step at which the page saw it, and since when

const isLearning = ({run, status}) => status === "running" && Date.now() - steps.get(run).since < 60_000;
const run = side => runs.find(({run}) => run === (choice[side] || start[side]));
const isWeak = run => typeof run?.accuracy === "number" && run.accuracy < WEAK;
const bestRun = network => runs.filter(run => run.network === network && run.accuracy >= WEAK)
  .reduce((best, run) => best?.accuracy >= run.accuracy ? best : run, undefined);

const sides = SIDES.map((name, side) => {
  const box = element("run").content.cloneNode(true).firstElementChild;
  box.dataset.side = name;
  box.style.setProperty("--of-network", `var(--${name})`);
  element("runs").append(box);
  const [title, select, facts, best] = ["h2", "select", "p", "button"].map(tag => box.querySelector(tag));
  const choose = chosen => {
    choice[side] = chosen;
    remember(`run-${name}`, chosen);
    element("notice").textContent = "";
    showRuns();
    update();
  };
  select.addEventListener("change", () => choose(select.value));
  best.addEventListener("click", () => choose(best.value));
  return {title, select, facts, best};
});

function dataName(data) {
  if (data === "MNIST") return data;
  const folder = data.match(/^the files in (.*), which are not MNIST's official ones$/)?.[1];
  return folder ? text("data-files", {folder}) : text("data-generated");
}

function optionText({run, learning_rate, epochs, step, accuracy, data}) {
  const facts = [
    learning_rate !== null && text("run-rate", {rate: learning_rate}),
    text("run-steps", {steps: number(epochs ?? step)}),
    data !== null && dataName(data),
  ];
  const option = text("run-option", {run, facts: facts.filter(Boolean).join(text("comma"))});
  return accuracy === null ? option : text("run-accuracy", {accuracy: percent(accuracy, 2), option});
}

function factsText(run) {
  const {step, epochs, accuracy, images, data} = run;
  return [
    text(isLearning(run) ? "run-learning" : "run-at", {step: number(step), epochs: number(epochs ?? step)}),
    typeof accuracy !== "number" ? text("run-untested") : text(images && data ? "run-reads" : "run-reads-some", {
      accuracy: percent(accuracy, 2), images: number(images ?? 0), data: dataName(data ?? ""),
    }),
  ].join(text("space"));
}

function showRuns() {
  SIDES.forEach((name, side) => {
    const {title, select, facts, best} = sides[side], shown = run(side), better = shown && bestRun(shown.network);
    title.textContent = text(`run-${name}`);
    select.ariaLabel = text(`choose-${name}`);
    fillSelect(select, start[side] && text(`follow-${name}`, {run: start[side]}));
    select.value = choice[side];
    facts.textContent = shown ? factsText(shown) : text("no-run");
    facts.classList.toggle("learning", Boolean(shown && isLearning(shown)));
    best.hidden = !(isWeak(shown) && better);
    best.value = better?.run ?? "";
    best.textContent = better ? text("best", {accuracy: percent(better.accuracy, 2)}) : "";
    for (const verdict of verdicts.filter(verdict => verdict.side === side)) {
      verdict.title.textContent = text(`card-${name}`, {network: shown ? text(shown.network) : "–"});
      verdict.weak.textContent = isWeak(shown) ? text("weak", {accuracy: percent(shown.accuracy)}) : "";
    }
  });
  showLooking();
}

// Options that are there already are kept, so that an open list does not close while a run learns.
function fillSelect(select, follow) {
  const groups = ["convolutional", "softmax"].map(network => [network, runs.filter(run => run.network === network)]);
  const wanted = [["", follow], ...groups.flatMap(([, members]) => members.map(run => [run.run, optionText(run)]))]
    .filter(([, label]) => label);
  if ([...select.options].map(option => option.value).join("\n") !== wanted.map(([value]) => value).join("\n")) {
    const options = new Map(wanted.map(([value]) => [value, new Option("", value)]));
    select.replaceChildren(...options.has("") ? [options.get("")] : [], ...groups
      .filter(([, members]) => members.length)
      .map(([network, members]) => {
        const group = document.createElement("optgroup");
        group.dataset.network = network;
        group.append(...members.map(({run}) => options.get(run)));
        return group;
      }));
  }
  for (const group of select.querySelectorAll("optgroup")) group.label = text(group.dataset.network);
  wanted.forEach(([, label], place) => {
    if (select.options[place].textContent !== label) select.options[place].textContent = label;
  });
}

// Ask again and again: so the page notices runs that appear, learn or are deleted, and a server that goes or comes.
async function followRuns() {
  try {
    ({runs, start} = await ask("/api/runs"));
    if (trouble instanceof Gone) alarm(null);
    const isFirst = !steps.size;  // which of the runs go on is not known yet: one may have been killed
    for (const {run, step} of runs) {
      if (steps.get(run)?.step !== step) steps.set(run, {step, since: isFirst ? 0 : Date.now()});
    }
    choice.forEach((chosen, side) => {
      if (!chosen || runs.some(({run}) => run === chosen)) return;
      choice[side] = "";
      element("notice").textContent = text("run-deleted", {run: chosen, instead: start[side] ?? "–"});
    });
    showRuns();
    const state = run => run && `${run.run} ${run.started} ${run.step}`;
    const told = SIDES.map((_, side) => run(side)).map(state), shown = answer?.runs.map(state);
    if (strokes.length && `${told}` !== `${shown}`) update();
  } catch (error) {
    alarm(error);
  }
  setTimeout(followRuns, 1000);
}

// ---------------------------------------------------------------- the verdicts

let answer = null;    // what the server says of the drawing; null for an empty paper
const pictures = [];  // for each view, a canvas
const verdicts = [];  // for each view and side, the parts of a card

VIEWS.forEach((view, which) => {
  const section = element("view").content.cloneNode(true).firstElementChild;
  section.querySelector("h2").dataset.text = view;
  section.querySelector("p").dataset.text = `${view}-why`;
  pictures.push(section.querySelector("canvas"));
  SIDES.forEach((name, side) => {
    const card = element("card").content.cloneNode(true).firstElementChild;
    Object.assign(card.dataset, {view, side: name});
    card.style.setProperty("--of-network", `var(--${name})`);
    const bars = card.querySelector(".bars");
    bars.append(...DIGITS.map(digit => {
      const bar = document.createElement("i");
      bar.dataset.digit = digit;
      return bar;
    }));
    const [title, sure, digit, weak] = ["h3", ".sure", ".digit", ".weak"].map(part => card.querySelector(part));
    verdicts.push({which, view, side, title, sure, digit, bars, weak});
    section.append(card);
  });
  element("views").append(section);
});

const likeliest = probabilities => DIGITS.reduce((a, b) => probabilities[b] > probabilities[a] ? b : a);

function showVerdicts() {
  for (const {view, side, sure, digit, bars} of verdicts) {
    const probabilities = answer?.[view].answers[side], best = probabilities && likeliest(probabilities);
    digit.textContent = best ?? "";
    sure.textContent = best ? percent(probabilities[best]) : "";
    for (const bar of bars.children) {
      const probability = probabilities?.[bar.dataset.digit] ?? 0;
      bar.dataset.probability = probability;
      bar.title = text("share", {digit: bar.dataset.digit, percent: percent(probability)});
      bar.style.setProperty("--probability", probability);
      bar.classList.toggle("wins", bar.dataset.digit === best);
    }
    bars.ariaLabel = best ? [...bars.children].map(bar => bar.title).join(text("comma")) : text("nothing");
  }
  VIEWS.forEach((view, which) => {
    paint(pictures[which], answer ? answer[view].picture.map(value => value / 255) : [], "--ink");
    pictures[which].ariaLabel = text("picture", {view: text(view)});
  });
  speak();
}

let speaking;
function speak() {  // for screen readers, once the hand rests
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const sentences = VIEWS.map((view, which) => text("spoken", {
      view: text(view),
      answers: verdicts.filter(verdict => verdict.which === which)
        .map(({title, digit}) => text("spoken-answer", {network: title.textContent, digit: digit.textContent}))
        .join(text("comma")),
    }));
    element("spoken").textContent = answer ? sentences.join(" ") : text("empty");
  }, 700);
}

const update = latest(async () => {
  const question = strokes, names = SIDES.map((_, side) => run(side)?.run ?? null);
  let told = null, refused = null;
  if (question.length && names.some(Boolean)) {
    try {
      told = await ask("/api/drawing", {strokes: question, runs: names});
    } catch (error) {
      if (error instanceof Gone) throw error;
      refused = error;
      // Such a run is no longer listed, and another takes its place: what happened stays to be read.
      if (["damaged-run", "other-network"].includes(error.code)) element("notice").textContent = sentenceOf(error);
    }
  }
  if (question !== strokes) return;  // the paper was cleared in the meantime
  answer = told;
  showVerdicts();
  updateInside();
  alarm(refused);
});

// ---------------------------------------------------------------- look inside

const looking = {open: recall("look-inside") === "open", view: 0, side: 0};
let weights = {};  // those that were asked for last: they change only with the run and its step

async function weightsOf({run, started, step, similar}) {
  const lacking = weights.dead === null && similar.length;  // the digits that tell the dead neurons were being read
  if (weights.run !== run || weights.started !== started || weights.step !== step || lacking) {
    weights = await ask(`/api/weights?${new URLSearchParams({run, step})}`);
  }
  return weights;
}

const updateInside = latest(async () => {
  if (!looking.open) return;
  const {view, side} = looking, shown = answer, asked = run(side);
  if (!shown || !asked) return showInside(null);
  const images = VIEWS.map(view => shown[view].picture.map(value => value / 255));
  try {
    const answers = await Promise.all(images.map(image => ask("/api/inside", {image, run: asked.run})));
    const weights = await weightsOf(answers[view]);
    if (answer) showInside({view, images, answers, weights, run: asked});
    if (answers.some(({why_code}) => why_code === "reading")) setTimeout(updateInside, 500);
  } catch (error) {
    if (!["busy-run", "no-such-run"].includes(error.code)) throw error;
    setTimeout(updateInside, 500);  // the run went on, or went, while it was asked
  }
});

function showLooking() {
  document.body.classList.toggle("looking", looking.open);
  element("look").ariaExpanded = looking.open;
  element("inside").hidden = !looking.open;
  choices(element("which-view"), VIEWS.map(view => text(view)), looking.view, view => look({view}));
  const networks = verdicts.slice(0, SIDES.length).map(({title}) => title.textContent);
  choices(element("which-network"), networks, looking.side, side => look({side}));
}

function look(changes) {
  Object.assign(looking, changes);
  remember("look-inside", looking.open ? "open" : "closed");
  showLooking();
  updateInside();
}

element("look").addEventListener("click", () => look({open: !looking.open}));

// ---------------------------------------------------------------- the reader's language

function showTexts(chosen) {
  speakLanguage(chosen);
  document.title = text("title");
  const parts = name => document.querySelectorAll(`[data-${name}]`);
  for (const part of parts("text")) part.replaceChildren(...withKeys(text(part.dataset.text)));
  for (const part of parts("label")) part.ariaLabel = text(part.dataset.label);
  const languages = Object.keys(LANGUAGES);
  choices(element("languages"), Object.values(LANGUAGES), languages.indexOf(language()), which => {
    remember("language", languages[which]);
    showTexts(languages[which]);
  });
  [...element("languages").children].forEach((button, which) => { button.lang = languages[which]; });
  alarm(trouble);
  element("notice").textContent = "";
  showRuns();
  showVerdicts();
  updateInside();
}

function withKeys(sentence) {  // [Esc] becomes a key
  return sentence.split(/\[(.+?)\]/).map((part, place) => {
    if (place % 2 === 0) return part;
    const key = document.createElement("kbd");
    key.textContent = part;
    return key;
  });
}

// ---------------------------------------------------------------- drawing

const {paper: PAPER, pen: PEN} = await ask("/api/paper");
let strokes = [];        // lines, as lists of points [x, y] from 0 to PAPER
const pens = new Map();  // pointer: the stroke that it draws, or null while it is beside the paper

const within = value => Math.min(Math.max(value, 0), PAPER);

function begin(x, y) {
  const stroke = [[Math.round(x), Math.round(y)]];
  strokes.push(stroke);
  return stroke;
}

function extend(stroke, x, y) {
  const point = [Math.round(within(x)), Math.round(within(y))], [lastX, lastY] = stroke.at(-1);
  if (Math.hypot(point[0] - lastX, point[1] - lastY) >= 2) stroke.push(point);  // closer points show nothing more
}

function clear() {
  strokes = [];
  for (const pointer of pens.keys()) pens.set(pointer, null);
  keyboard.stroke = null;
  drawn();
}

function drawn() {
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / PAPER, 0, 0, canvas.height / PAPER, 0, 0);
  context.clearRect(0, 0, PAPER, PAPER);
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(stroke[0][0] - .01, stroke[0][1]);  // a dot is a line too, but one without length would not be drawn
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
  canvas.parentElement.classList.toggle("drawn", strokes.length > 0);
  update();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * PAPER, (event.clientY - box.top) / box.height * PAPER];
}

canvas.addEventListener("pointerdown", event => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  pens.set(event.pointerId, begin(...place(event)));
  drawn();
});

canvas.addEventListener("pointermove", event => {
  if (!pens.has(event.pointerId)) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const part of events.length ? events : [event]) {
    const [x, y] = place(part), onPaper = x === within(x) && y === within(y);
    const stroke = pens.get(event.pointerId);
    if (stroke) extend(stroke, x, y);
    pens.set(event.pointerId, !onPaper ? null : stroke ?? begin(x, y));
  }
  drawn();
});

for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, event => pens.delete(event.pointerId));

// ---------------------------------------------------------------- buttons and keys

const keyboard = {x: PAPER / 2, y: PAPER / 2, stroke: null, held: new Set()};

function showPen() {
  Object.assign(element("pen").style, {left: `${100 * keyboard.x / PAPER}%`, top: `${100 * keyboard.y / PAPER}%`});
  element("pen").classList.toggle("down", keyboard.stroke !== null);
}

canvas.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    keyboard.stroke = keyboard.stroke ? null : begin(keyboard.x, keyboard.y);
    drawn();
  } else if (event.key in ARROWS) {
    keyboard.held.add(event.key);
    for (const [right, down] of [...keyboard.held].map(key => ARROWS[key])) {
      keyboard.x = within(keyboard.x + 5 * right);
      keyboard.y = within(keyboard.y + 5 * down);
    }
    if (keyboard.stroke) {
      extend(keyboard.stroke, keyboard.x, keyboard.y);
      drawn();
    }
  } else {
    return;
  }
  event.preventDefault();  // arrows and space would scroll the page
  showPen();
});
canvas.addEventListener("keyup", event => keyboard.held.delete(event.key));
canvas.addEventListener("blur", () => { keyboard.held.clear(); keyboard.stroke = null; showPen(); });

document.addEventListener("keydown", event => {
  if (event.target.matches?.("select")) return;  // letters choose there
  if (event.key === "Escape" && closeSum()) return;
  if (["Escape", "Delete", "c", "C"].includes(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    clear();
    showPen();
  }
});
element("clear").addEventListener("click", clear);
element("edge").addEventListener("click", () => {  // a 1 with a flag, at the right edge
  clear();
  strokes.push([[234, 84], [258, 60], [258, 220]]);
  drawn();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawn);

showTexts(recall("language"));
showPen();
followRuns();
