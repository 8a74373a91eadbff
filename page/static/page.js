// The page: the runs, the verdicts, and the questions to the server. The paper is in paper.js, the
// part under "Look inside" in inside.js; index.html and texts.js have the texts.

import {closeSum, DIGITS, element, make, paint, placeOfMost, showInside} from "./inside.js";
import * as paper from "./paper.js";
import {describePhoto, nameViews, showPhoto, watchPhotos} from "./photo.js";
import {certainty, language, number, percent, sentenceOf, speakLanguage, text} from "./texts.js";

const SIDES = ["left", "right"];
const VIEWS = ["as-drawn", "centred"];
const WEAK = 0.5; // a network with a lower test accuracy is shown with a warning

let drawings = 0; // how often the drawing has changed

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
let resting; // the timer of updateInside()

const COMMAND = "python mnist.py --learning_rate=0.001 --own_digits=10";
const ROUND = 3; // "Draw 30 digits" asks for each of the ten so often
let own = null; // what the server last said about the digits that the reader drew and named
let ownTrouble = null; // why it said nothing, or kept nothing, or null
let tallied = null; // the states of the runs that its tallies are for
const pressed = []; // what the presses kept, for Undo: {name, strokes}, the last one at the end
let aim = null; // while 30 digits are asked for: how many pictures of each there are to be
let hasTold = false; // what stands below the digits holds only until something is drawn
let isKeeping = false; // the server has not answered a press or Undo yet

const cards = VIEWS.flatMap((view) =>
  SIDES.map((name, side) => {
    const card = element("card").content.cloneNode(true).firstElementChild;
    Object.assign(card.dataset, {view, side: name});
    card.querySelector(".bars").append(...DIGITS.map((digit) => make("i", {textContent: digit})));
    element(view).append(card);
    return {view, side, card, part: (selector) => card.querySelector(selector)};
  }),
);

const scores = SIDES.map((side) => {
  const score = element("score").content.cloneNode(true).firstElementChild;
  score.dataset.side = side;
  element("tally").append(score);
  return score;
});

const digitButtons = DIGITS.map((digit) => {
  const button = make("button", {type: "button", textContent: digit, ariaKeyShortcuts: `${digit}`});
  button.addEventListener("click", () => keep(digit));
  return button;
});
element("own")
  .querySelector(".digits")
  .append(...digitButtons);

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

// With the path that was asked, `code`, and `error` and `chinese` from the server.
class Trouble extends Error {}

async function ask(path, body, method = "POST") {
  const post = body && {method, body: body instanceof Blob ? body : JSON.stringify(body)};
  const fail = (reason) => Promise.reject(Object.assign(new Trouble(), reason, {path}));
  const gone = () => fail({code: "server-gone"});
  const options = {signal: AbortSignal.timeout(10_000), redirect: "manual", ...post};
  const response = await fetch(path, options).catch(gone);
  const {ok, status, type} = response;
  if (type === "opaqueredirect") return fail({code: "redirected"});
  const notJson = (error) => (error instanceof SyntaxError ? null : gone());
  const content = await response.json().catch(notJson);
  if (!content || !(ok || content.chinese)) return fail({code: "answered-between", status});
  if (!ok) return fail(content);
  if (trouble?.path === path) alarm(null);
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
  updateOwn();
}

function dataName(data) {
  const folder = data.match(/^the files in (.*), which are not MNIST's official ones$/)?.[1];
  if (folder) return text("data-files", {folder});
  return data === "MNIST" ? data : text("data-generated");
}

// Return the text of a run in a list. A name that mnist.py gave says all but the data.
function optionText({name, learning_rate: rate, epochs, step, accuracy, data, ...run}) {
  const facts = [];
  if (!name.startsWith(`lr=${rate},`)) {
    if (rate !== null) facts.push(text("run-rate", {rate}));
    facts.push(text("run-steps", {steps: number(epochs ?? step)}));
    if (run.shift) facts.push(text("run-shift", run));
    if (run.own_digits) facts.push(text("run-own", {count: run.own_digits}));
  }
  if (![null, "MNIST"].includes(data)) facts.push(dataName(data));
  const known = {run: name, facts: facts.join(text("comma"))};
  const option = facts.length ? text("run-option", known) : name;
  return accuracy === null ? option : `${percent(accuracy, 2)} · ${option}`;
}

// Return the name of each network on its cards: of two of one kind, the names of their runs.
function titles() {
  const shown = SIDES.map((_, side) => start && runOf(side));
  const areAlike = shown[0] && shown[0].network === shown[1]?.network;
  return shown.map((run, side) => {
    const kind = [run ? text(run.network) : "–"];
    if (run?.shift) kind.push(text("run-shift", run));
    const name = run?.name.replaceAll(",", ",\u200b"); // a line may end after a comma
    const network = areAlike ? name : kind.join(text("comma"));
    return text(`card-${SIDES[side]}`, {network});
  });
}

function factsText(run) {
  const {accuracy, images, data} = run;
  const steps = {step: number(run.step), epochs: number(run.epochs ?? run.step)};
  let training = text(isLearning(run) ? "run-learning" : "run-at", steps) + text("space");
  if (run.shift) training += text("run-moved", run) + text("space");
  if (run.own_digits) training += text("run-learned-own") + text("space");
  if ([accuracy, images, data].includes(null)) return training + text("run-untested");
  const tested = {accuracy: percent(accuracy, 2), images: number(images), data: dataName(data)};
  return training + text("run-reads", tested);
}

function showRuns() {
  const named = titles();
  SIDES.forEach((name, side) => {
    const box = document.querySelector(`.run[data-side=${name}]`);
    const [select, facts, best] = box.querySelectorAll("select, p, button");
    const run = start && runOf(side);
    const better = isWeak(run) && bestOf(run.network);
    const weak = isWeak(run) ? text("weak", {accuracy: percent(run.accuracy)}) : "";
    fillSelect(select, side);
    const none = start ? text("no-run") : "";
    facts.textContent = run ? factsText(run) : none;
    facts.classList.toggle("learning", Boolean(run && isLearning(run)));
    best.hidden = !better || isWeak(better);
    best.value = better?.name ?? "";
    best.textContent = better ? text("best", {accuracy: percent(better.accuracy, 2)}) : "";
    element("which-network").querySelectorAll("span")[side].textContent = named[side];
    scores[side].querySelector("h3").textContent = named[side];
    for (const {part} of cards.filter((card) => card.side === side)) {
      part("h3").textContent = named[side];
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
    const content = [...(follow ? [new Option(follow, "")] : []), ...groups];
    const isSame = content.map((part) => part.outerHTML).join("") === select.innerHTML;
    if (!isSame) select.replaceChildren(...content); // else the browser would lose its place
  }
  select.value = choice[side];
}

// Called once a second: runs appear, learn and are deleted, and the server may stop and restart.
const followRuns = latest(async () => {
  if (document.hidden) return;
  const isFirst = start === null;
  const listed = await ask("api/runs");
  ({runs, start} = listed);
  if (isFirst && listed.old) {
    element("notice").textContent = text("old-runs", {count: number(listed.old)});
  }
  if (trouble?.code === "server-gone") alarm(null);
  for (const {name, step} of runs) {
    if (progress.get(name)?.step !== step) {
      // Whether a run in the first list still trains is known when its next step is due.
      progress.set(name, {step, since: Date.now() - (isFirst ? 45_000 : 0)});
    }
  }
  choice.forEach((chosen, side) => {
    if (!chosen || runs.some(({name}) => name === chosen)) return;
    choice[side] = "";
    const names = {run: chosen, instead: start[side] ?? "–"};
    element("notice").textContent = text("run-deleted", names);
  });
  showRuns();
  if (runStates() !== tallied) updateOwn();
  if (!paper.isEmpty() && question() !== answered) update();
  else if (insideIsDue) updateInside();
});

// ---------------------------------------------------------------- the verdicts

// What is asked: the drawing and the state of both runs.
const runStates = () => SIDES.map((_, side) => stateOf(runOf(side))).join();
const question = () => `${drawings},${runStates()}`;

async function askAbout(names) {
  const {strokes, photo} = paper;
  if (!photo) return ask("api/drawing", {strokes, runs: names});
  const asked = new URLSearchParams(names.map((name) => ["run", name ?? ""]));
  const {plain, prepared, ...facts} = await ask(`api/picture?${asked}`, photo.blob);
  return {...facts, [VIEWS[0]]: plain, [VIEWS[1]]: prepared};
}

const update = latest(async () => {
  if (!start) return;
  const asked = question();
  const names = SIDES.map((_, side) => runOf(side)?.name ?? null);
  const isAnswerable = !paper.isEmpty() && names.some(Boolean);
  let received = null;
  const waiting = setTimeout(() => document.body.classList.add("late-answer"), 1000);
  answered = null;
  try {
    if (isAnswerable) received = await askAbout(names);
    if (received || trouble?.code !== "server-gone") alarm(null);
    answered = asked;
  } catch (error) {
    alarm(error);
    // The next answer to the same photo would be the same.
    if (["no-ink", "not-a-photo", "too-large-photo"].includes(error.code)) answered = asked;
    // The server no longer lists such a run, and another takes its place. The sentence stays.
    const isLost = ["damaged-run", "no-logits", "needs-more"].includes(error.code);
    if (isLost) element("notice").textContent = sentenceOf(error);
  }
  clearTimeout(waiting);
  document.body.classList.remove("late-answer");
  answer = paper.isEmpty() ? null : received; // the paper may have been cleared meanwhile
  showVerdicts();
  clearTimeout(resting);
  resting = setTimeout(updateInside, answer ? 100 : 0); // while the pen moves, verdicts come first
});

// Return what "Try the edge" says about runs that were trained on moved digits.
function edgeText() {
  if (!answer || !paper.isAtEdge()) return "";
  const asked = answer.runs.map((run) => runs.find(({name}) => name === run?.run));
  const moved = asked.findIndex((run) => run?.shift);
  const plain = asked.findIndex((run) => run?.shift === 0 && run.network === asked[moved]?.network);
  const [example] = runs.filter(({shift}) => shift).sort((a, b) => b.accuracy - a.accuracy);
  if (moved < 0) return example ? text("edge-choose", {run: example.name}) : text("edge-train");
  if (plain < 0) return "";
  const [learned, other] = [moved, plain].map((side) =>
    placeOfMost(answer["as-drawn"].answers[side]),
  );
  const compared = text("edge-compared", {shift: asked[moved].shift, learned, other});
  return paper.isSeven() ? text("edge-seven") + text("space") + compared : compared;
}

function showVerdicts() {
  describePhoto(paper.photo && answer);
  element("edge-says").textContent = edgeText();
  for (const {view, side, card, part} of cards) {
    const shares = answer?.[view].answers[side];
    const best = shares ? placeOfMost(shares) : null;
    const isUnlike = answer?.[view].unlike?.[side] === true; // it may be unknown
    const bars = [...part(".bars").children];
    bars.forEach((bar, digit) => {
      const share = shares?.[digit] ?? 0;
      bar.title = text("colon", {what: digit, value: certainty(share)});
      bar.style.setProperty("--probability", share);
      bar.classList.toggle("wins", digit === best);
    });
    const said = shares ? bars.map((bar) => bar.title).join(text("comma")) : text("nothing");
    part(".bars").setAttribute("aria-label", said);
    part(".digit").textContent = best ?? "";
    part(".sure").textContent = shares ? certainty(shares[best]) : "";
    card.classList.toggle("pale", isUnlike);
  }
  showInShort();
  for (const view of VIEWS) {
    paint(element(view).querySelector("canvas"), answer?.[view].picture ?? [], 255, "--ink");
  }
  clearTimeout(speaking);
  speaking = setTimeout(speak, 700); // when the drawing has not changed for a while
}

// Repeat the verdicts below the paper, for those who have scrolled to the layers of the network.
function showInShort() {
  if (element("in-short").hidden) return;
  const rows = VIEWS.map((view) => {
    const verdicts = cards
      .filter((card) => card.view === view)
      .map(({card, part}) => {
        const [digit, sure] = [part(".digit").textContent || "–", part(".sure").textContent];
        const verdict = make("span", {}, make("b", {}, digit), ` ${sure}`);
        verdict.dataset.side = card.dataset.side;
        verdict.classList.toggle("pale", card.classList.contains("pale"));
        return verdict;
      });
    return make("p", {}, element(`${view}-name`).textContent, ...verdicts);
  });
  element("in-short").replaceChildren(...rows);
}

// Say the verdicts to screen readers.
function speak() {
  const sentences = cards.flatMap(({view, card, part}) => {
    const [network, digit] = [part("h3").textContent, part(".digit").textContent];
    const said = text("spoken", {view: element(`${view}-name`).textContent, network, digit});
    return card.classList.contains("pale") ? [said, part(".unlike").textContent] : [said];
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
  element("in-short").hidden = !target.open;
  showInShort();
  updateInside();
});

// ---------------------------------------------------------------- the reader's own digits

const updateOwn = latest(async () => {
  if (!start) return;
  const asked = runStates();
  const names = SIDES.map((_, side) => ["run", runOf(side)?.name ?? ""]);
  try {
    own = await ask(`api/own-digits?${new URLSearchParams(names)}`);
    [tallied, ownTrouble] = [asked, own.refusal];
  } catch (error) {
    tallied = null; // it is asked again
    if (!["busy-run", "no-such-run"].includes(error.code)) ownTrouble = error;
  }
  showOwn();
});

// Run `work`, which changes what is kept, unless a change is on its way; then show what is kept.
async function change(work) {
  if (isKeeping) return;
  isKeeping = true;
  try {
    await work();
    updateOwn();
  } catch (error) {
    ownTrouble = error;
    if (error.code === "server-gone") tallied = null; // it is asked again
    showOwn();
  }
  isKeeping = false;
}

function keep(digit) {
  if (!own || own.refusal) return;
  if (paper.isEmpty()) {
    element("own-says").textContent = text("own-empty");
    hasTold = true;
    return;
  }
  const {strokes, photo} = paper;
  if (photo && !answer) return; // nothing was found in it
  change(async () => {
    const image = photo && answer.centred.picture.map((value) => value / 255);
    const {name} = await ask("api/own-digits", image ? {digit, image} : {digit, strokes});
    pressed.push({name, strokes, photo});
    paper.takeAway();
  });
}

const undo = () =>
  change(async () => {
    const last = pressed.pop();
    await ask(`api/own-digits/${last.name}`, {}, "DELETE");
    if (paper.isEmpty()) paper.put(last.strokes, last.photo); // else the next drawing stays
  });

// How many pictures of each digit the round of 30 has so far.
const ofRound = () => own.counts.map((count) => Math.min(Math.max(count - aim + ROUND, 0), ROUND));

function showOwn() {
  if (!own) {
    if (ownTrouble) element("own-says").textContent = sentenceOf(ownTrouble);
    return;
  }
  const total = (counts) => counts.reduce((a, b) => a + b, 0);
  const count = number(total(own.counts));
  const round = aim === null ? null : ofRound();
  const isAsking = round !== null && total(round) < 30;
  const asked = isAsking ? round.indexOf(Math.min(...round)) : null;
  hasTold = paper.isEmpty() && pressed.length > 0;
  const digit = pressed.at(-1)?.name[0];
  let says = hasTold ? text("own-kept-as", {digit, count}) : text("own-kept", {count});
  if (isAsking) says = text("own-task", {digit: asked, place: total(round) + 1});
  else if (round) says = text("own-finished", {aim, count, command: COMMAND});
  if (ownTrouble) says = sentenceOf(ownTrouble);
  if (element("own-says").textContent !== says) element("own-says").textContent = says;
  element("own-says").classList.toggle("task", isAsking && !ownTrouble);
  for (const [digit, button] of digitButtons.entries()) {
    button.classList.toggle("asked", digit === asked);
  }
  element("own").disabled = own.refusal !== null;
  element("own-undo").disabled = !pressed.length;
  element("own-round").textContent = text(isAsking ? "own-stop" : "own-round");
  scores.forEach(showScore);
}

function showScore(score, side) {
  const [run, tally] = [runOf(side), own.tallies[side]];
  const shares = VIEWS.map((view) => tally?.[view] ?? {right: 0, of: 0});
  const values = shares.map(({right, of}) => {
    const share = {right: number(right), count: number(of), share: percent(right / of)};
    return of ? text("tally-share", share) : "–";
  });
  if ([run?.accuracy ?? null, run?.images ?? null, run?.data ?? null].includes(null)) {
    values.push("–");
  } else {
    const [share, count] = [percent(run.accuracy, 2), number(run.images)];
    values.push(text("tally-test-share", {share, count, data: dataName(run.data)}));
  }
  score.querySelectorAll("dd").forEach((value, place) => {
    value.textContent = values[place];
  });
  const added = shares[1].of - shares[0].of;
  const notes = [];
  if (tally?.left_out) notes.push(text("tally-trained", {count: number(tally.left_out)}));
  if (added) notes.push(text("tally-added", {count: number(added)}));
  score.querySelector("p").textContent = notes.join(text("space"));
}

// ---------------------------------------------------------------- buttons and keys

document.addEventListener("keydown", (event) => {
  if (event.target.matches?.("select")) return; // there, letters choose an option
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && closeSum()) return;
  if (["Escape", "Delete", "c", "C"].includes(event.key)) paper.clear();
  if (/^\d$/.test(event.key)) keep(Number(event.key));
});
element("own-undo").addEventListener("click", undo);
element("own-round").addEventListener("click", () => {
  const isAsking = aim !== null && ofRound().some((count) => count < ROUND);
  aim = isAsking || !own ? null : ROUND * (1 + Math.floor(Math.min(...own.counts) / ROUND));
  showOwn();
});
SIDES.forEach((name, side) => {
  const [select, best] = document.querySelectorAll(`.run[data-side=${name}] :is(select, button)`);
  select.addEventListener("change", () => choose(side, select.value));
  select.addEventListener("blur", showRuns); // while it had the focus, its list was not updated
  best.addEventListener("click", () => choose(side, best.value));
});
const take = (photo) => paper.put([], photo);
watchPhotos(take, (code) => alarm(Object.assign(new Trouble(), {code})));
paper.onChange(() => {
  showPhoto(paper.photo);
  if (paper.photo) answer = null; // of what was there before: keep() must not take its picture
  if (hasTold) showOwn();
  drawings += 1;
  update();
});

// ---------------------------------------------------------------- the reader's language, and the start

function showLanguage(wanted) {
  speakLanguage(wanted);
  nameViews();
  document.querySelector(`[name=language][value=${language}]`).checked = true;
  alarm(trouble);
  element("notice").textContent = "";
  showRuns();
  showVerdicts();
  showOwn();
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
