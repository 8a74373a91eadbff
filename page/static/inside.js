// The part under "Look inside": the most similar training digits, then every layer of the
// network. page.js asks the server and passes the answers to showInside().

import {certainty, number, percent, sentenceOf, text} from "./texts.js";

export const element = (id) => document.getElementById(id);
export const placeOfMost = (numbers) => numbers.indexOf(Math.max(...numbers));
const largest = (lists) => lists.flat().reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const range = (length) => [...Array(length).keys()];

export const DIGITS = range(10);
export const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
const PIXELS = range(784); // of a picture, row by row
const sumBox = element("sum");
const ballots = document.querySelector(".ballots");

let shown = null; // the last argument of showInside(); null while nothing is drawn
let opened = null; // the number of the kernel whose sum is shown, or null
let spot = [14, 14]; // the row and column in its feature map that the sum is for
let picked = null; // the digit that the reader chose in "Why not a ...?", or null

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Return the red, green and blue of a colour that page.css writes as #rrggbb.
function colour(name) {
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((place) => Number.parseInt(hex.slice(place, place + 2), 16));
}

// Paint numbers from -most to most into a canvas, one pixel each. 0 is transparent.
export function paint(canvas, values, most, above = "--plus", below = "--minus") {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const [plus, minus] = [colour(above), colour(below)];
  values.forEach((value, place) => {
    image.data.set(value < 0 ? minus : plus, 4 * place);
    image.data[4 * place + 3] = Math.round((255 * Math.abs(value)) / most);
  });
  context.putImageData(image, 0, 0);
}

function showValues(box, values, decimals = 3) {
  for (const [name, value] of Object.entries(values)) {
    box.querySelector(`[data-value=${name}]`).textContent = number(value, decimals);
  }
}

// ---------------------------------------------------------------- the most similar training digits

// A test digit that is moved by 2 pixels is less alike than centred by about this much.
const DISPLACED = 0.08;

// In files that are not MNIST's, the digits may be anywhere, and SHIFT moves them.
const liesInTheMiddle = ({data, shift}) =>
  !shift && ["MNIST", "generated digits, not MNIST"].includes(data);

function showSimilar({answers, run}) {
  const section = element("similar");
  answers.forEach(({similar, similar_error: error}, view) => {
    const match = section.querySelectorAll(".match")[view];
    match.querySelector("p").textContent = error ? sentenceOf(error) : "";
    match.querySelector("ol").replaceChildren(...similar.map(showMatch));
  });
  const best = answers.map(({similar}) => similar[0]?.likeness ?? 0);
  const [usual, drawn, centred] = [answers[0].usual ?? 0, ...best].map((share) => percent(share));
  const isCompared = best.every(Boolean);
  const isDisplaced = best[1] - best[0] >= DISPLACED;
  for (const words of document.querySelectorAll(".middle")) {
    words.hidden = !(isCompared && isDisplaced && liesInTheMiddle(run));
  }
  const isPlaced = isCompared && !isDisplaced && liesInTheMiddle(run);
  section.querySelector(".placed").hidden = !(isPlaced && run.data === "MNIST");
  const words = isCompared && answers[0].usual ? {usual, drawn, centred} : null;
  section.querySelector(".usual").textContent = words ? text("similar-usual", words) : "";
  section.querySelector(".moved").textContent = run.shift ? text("similar-moved", run) : "";
  // The chart was measured with a default run: beside a very different run, it would mislead.
  const isPlain = run.network === "convolutional" && run.data === "MNIST" && !run.shift;
  const readsAlike = isPlain && run.accuracy >= 0.5;
  section.querySelector(".shift").hidden = !(readsAlike && isCompared);
  section.querySelectorAll(".yours").forEach((mark, view) => {
    const x = 58 + 317.5 * (Math.max(best[view], 0.2) - 0.2);
    mark.setAttribute("transform", `translate(${x} 0)`);
    mark.setAttribute("text-anchor", x > 185 ? "end" : "start");
    mark.querySelector(".share").textContent = percent(best[view]);
  });
}

function showMatch({label, likeness, picture, own}) {
  const canvas = make("canvas", {width: 28, height: 28});
  const share = percent(likeness);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", text("similar-one", {label, likeness: share}));
  paint(canvas, picture, 255, "--ink");
  const [digit, words] = [make("b", {textContent: label}), make("span", {textContent: share})];
  const mark = own ? [make("span", {textContent: text("similar-own")})] : [];
  return make("li", {}, canvas, digit, words, ...mark);
}

// ---------------------------------------------------------------- the convolutional layer

function showKernels({answers, view, weights: {kernels}}) {
  const maps = answers[view].conv;
  const [mostWeight, mostInMaps] = [largest(kernels), largest(maps)];
  const box = document.querySelector(".kernels");
  if (box.querySelectorAll(".kernel").length !== kernels.length) {
    opened = null;
    box.replaceChildren(...kernels.map((_, kernel) => makeKernel(kernel)));
  }
  box.querySelectorAll(".kernel").forEach((button, kernel) => {
    const [weights, map, pooled] = button.querySelectorAll("canvas");
    paint(weights, kernels[kernel], mostWeight);
    paint(map, maps[kernel], mostInMaps);
    paint(pooled, pool(maps[kernel]), mostInMaps);
    button.setAttribute("aria-label", describeMap(kernel, maps[kernel]));
    button.setAttribute("aria-expanded", kernel === opened);
  });
  const [weights, features] = document.querySelectorAll("#conv .scale");
  showValues(weights, {low: -mostWeight, high: mostWeight}, 2);
  showValues(features, {low: 0, high: mostInMaps}, 2);
  showSum();
}

function pool(map) {
  const corners = PIXELS.filter((n) => n % 2 === 0 && Math.floor(n / 28) % 2 === 0);
  return corners.map((n) => Math.max(map[n], map[n + 1], map[n + 28], map[n + 29]));
}

function describeMap(kernel, map) {
  const place = placeOfMost(map);
  const [row, column] = [Math.floor(place / 28) + 1, (place % 28) + 1];
  const [value, places] = [number(map[place], 2), map.filter((value) => value > 0).length];
  const key = places ? "kernel-says" : "kernel-silent";
  return text(key, {kernel: kernel + 1, row, column, value, places});
}

function makeKernel(kernel) {
  const canvases = [5, 28, 14].map((size) => make("canvas", {width: size, height: size}));
  const button = make("button", {className: "kernel", type: "button"}, ...canvases);
  button.addEventListener("click", () => {
    if (opened === kernel) return closeSum();
    opened = kernel;
    spot = strongest();
    showKernels(shown);
  });
  button.addEventListener("keydown", (event) => {
    if (!(event.key in MOVES) || opened !== kernel) return;
    const [right, down] = MOVES[event.key];
    event.preventDefault(); // the key would scroll the page
    go(spot[0] + down, spot[1] + right);
  });
  return button;
}

// Return the row and column with the largest sum, among the places where the kernel meets ink.
function strongest() {
  const sums = PIXELS.map((n) => {
    const {pixels, total} = convolve(Math.floor(n / 28), n % 28);
    return pixels.some(Boolean) ? total : -Infinity;
  });
  return [Math.floor(placeOfMost(sums) / 28), placeOfMost(sums) % 28];
}

function go(row, column) {
  spot = [row, column].map((count) => Math.min(Math.max(count, 0), 27));
  showSum();
}

function pointAt(event) {
  const {top, left, width, height} = event.currentTarget.getBoundingClientRect();
  const [down, right] = [(event.clientY - top) / height, (event.clientX - left) / width];
  go(Math.floor(28 * down), Math.floor(28 * right));
}

// ---------------------------------------------------------------- the sum behind a number of a feature map

// Return the 25 pixels under the opened kernel (null outside the paper), and the sums of them.
function convolve(row, column) {
  const {view, images, weights} = shown;
  const pixels = range(25).map((n) => {
    const [y, x] = [row + Math.floor(n / 5) - 2, column + (n % 5) - 2];
    return y < 0 || y > 27 || x < 0 || x > 27 ? null : images[view][28 * y + x];
  });
  const products = pixels.map((pixel, n) => pixel * weights.kernels[opened][n]);
  const together = sum(products);
  return {pixels, products, together, total: together + weights.biases[opened]};
}

// Close the sum, and return whether one was visible.
export function closeSum() {
  if (opened === null || !shown || element("conv").hidden || !element("look").open) return false;
  const button = document.querySelectorAll(".kernel")[opened];
  if (sumBox.contains(document.activeElement)) button.focus();
  opened = null;
  showKernels(shown);
  return true;
}

function showSum() {
  sumBox.hidden = opened === null;
  if (opened === null) return;
  const {view, images, answers, weights} = shown;
  const [row, column] = spot;
  const {pixels, products, together, total} = convolve(row, column);
  const [maps, bias] = [answers[view].conv, weights.biases[opened]];
  const [mostWeight, mostInMaps] = [largest(weights.kernels), largest(maps)];
  showNumbers("pixels", pixels, 1);
  showNumbers("weights", weights.kernels[opened], mostWeight);
  showNumbers("products", products, mostWeight);
  showValues(sumBox, {products: together, bias, total, relu: Math.max(0, total)});

  const [down, right] = [row % 2, column % 2]; // the position in its block of 2x2 places
  const four = [0, 1].flatMap((y) =>
    [0, 1].map((x) => convolve(row - down + y, column - right + x)),
  );
  const activations = four.map(({total}) => Math.max(0, total));
  const kept = placeOfMost(activations);
  const cells = showNumbers("pooling", activations, mostInMaps);
  cells[kept].classList.add("kept");
  cells[2 * down + right].classList.add("here");

  const place = {row: row + 1, column: column + 1};
  sumBox.querySelector(".place").textContent = text("sum-place", place);
  const [picture, map, pooled] = sumBox.querySelectorAll(".map");
  paint(picture.firstChild, images[view], 1, "--ink");
  paint(map.firstChild, maps[opened], mostInMaps);
  paint(pooled.firstChild, pool(maps[opened]), mostInMaps);
  frame(picture, (row - 2) / 5, (column - 2) / 5, 5 / 28);
  frame(map, row, column, 1 / 28);
  frame(pooled, Math.floor(row / 2), Math.floor(column / 2), 1 / 14);
  const button = document.querySelectorAll(".kernel")[opened];
  if (button.nextSibling !== sumBox) button.after(sumBox); // the grid fills the gap before the box
}

function showNumbers(name, values, most) {
  const cells = values.map((value) => {
    const className = value === null ? "outside" : value < 0 ? "minus" : "plus";
    const cell = make("span", {className, textContent: value === null ? "0" : number(value, 3)});
    cell.style.setProperty("--strength", Math.min(1, Math.abs(value) / most));
    return cell;
  });
  sumBox.querySelector(`[data-numbers=${name}]`).replaceChildren(...cells);
  return cells;
}

function frame(map, row, column, size) {
  const [top, left, side] = [row, column, 1].map((count) => `${100 * count * size}%`);
  Object.assign(map.querySelector("i").style, {top, left, width: side, height: side});
}

// ---------------------------------------------------------------- the neurons

// Return whether a layer is 0 for every drawing, judging by both pictures and the training digits.
function isDead({answers, weights: {dead}}) {
  const isSilent = (layer) => answers.every((answer) => answer[layer]?.flat().every((x) => !x));
  const allDead = !dead || dead.length === answers[0].hidden?.length;
  return isSilent("conv") || (isSilent("hidden") && allDead);
}

function showNeurons({answers, view, weights: {dead, tried, inputs}}) {
  const {hidden} = answers[view];
  paintNeurons(hidden, new Set(dead));
  const [active, strongest] = [hidden.filter(Boolean).length, placeOfMost(hidden)];
  const counts = {neurons: hidden.length, inputs, active, tried};
  Object.assign(counts, {
    silent: hidden.length - active,
    dead: dead?.length,
    neuron: strongest + 1,
  });
  const words = Object.entries(counts).map(([name, count]) => [name, number(count ?? 0)]);
  const values = {...Object.fromEntries(words), value: number(hidden[strongest], 2)};
  const keys = ["hidden-says"];
  if (active) keys.push("hidden-strongest");
  if (dead?.length) keys.push("hidden-dead");
  const sentences = keys.map((key) => text(key, values));
  element("neurons-say").textContent = sentences.join(text("space"));
}

function paintNeurons(values, dead) {
  const canvas = document.querySelector("#neurons canvas");
  const context = canvas.getContext("2d");
  const columns = Math.ceil(Math.sqrt(values.length));
  const [size, most] = [canvas.width / columns, largest(values)];
  const [plus, line, soft] = ["--plus", "--line", "--soft"].map((name) => `rgb(${colour(name)})`);
  canvas.style.setProperty("--columns", columns);
  context.clearRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, {textAlign: "center", textBaseline: "middle", font: `${size}px serif`});
  values.forEach((value, neuron) => {
    const [row, column] = [Math.floor(neuron / columns), neuron % columns];
    const [x, y] = [(column + 0.5) * size, (row + 0.5) * size];
    const isMarked = value === 0 && dead.has(neuron);
    const radius = Math.min(0.42 * size, 40) * (value ? 1 : 0.5);
    context.globalAlpha = value ? 0.15 + (0.85 * value) / most : 1;
    context.fillStyle = value ? plus : isMarked ? soft : line;
    context.beginPath();
    if (isMarked) context.fillText("×", x, y);
    else context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  });
}

// ---------------------------------------------------------------- softmax regression's votes, and the logits

function showVotes({answers, view, images, weights}) {
  const {logits} = answers[view];
  const most = largest(weights.weights);
  const answer = placeOfMost(logits);
  const second = placeOfMost(logits.map((logit, digit) => (digit === answer ? -Infinity : logit)));
  const candidates = [picked, placeOfMost(answers[1].logits), second];
  const other = candidates.find((digit) => digit !== null && digit !== answer);
  [answer, other].forEach((digit, which) => {
    const [template, bias] = [weights.weights[digit], weights.biases[digit]];
    const votes = template.map((weight, pixel) => weight * images[view][pixel]);
    const plus = sum(votes.filter((vote) => vote > 0));
    const minus = sum(votes.filter((vote) => vote < 0));
    const ballot = ballots.children[which];
    const title = text(which ? "votes-other" : "votes-answer", {digit});
    ballot.querySelector("h3").textContent = title;
    ballot.querySelectorAll("canvas").forEach((canvas, n) => {
      paint(canvas, [template, votes][n], most);
    });
    showValues(ballot, {for: plus, against: minus, bias, logit: plus + minus + bias});
  });
  element("pick").querySelectorAll("input")[other].checked = true;
  showValues(document.querySelector("#votes .scale"), {low: -most, high: most}, 2);
}

function showLogits({answers, view}) {
  const {logits} = answers[view];
  const answer = placeOfMost(logits);
  const powers = logits.map((logit) => Math.exp(logit - logits[answer]));
  const rows = logits.map((logit, digit) => {
    const bar = make("i", {className: logit < 0 ? "minus" : "plus"});
    bar.style.setProperty("--length", `${(50 * Math.abs(logit)) / largest(logits)}%`);
    const words = [number(logit, 2), certainty(powers[digit] / sum(powers), 1)];
    const cells = [
      make("td", {className: "bar"}, bar),
      ...words.map((word) => make("td", {}, word)),
    ];
    const name = make("th", {scope: "row"}, digit);
    return make("tr", {className: digit === answer ? "wins" : ""}, name, ...cells);
  });
  document.querySelector("#logits tbody").replaceChildren(...rows);
}

// ---------------------------------------------------------------- all parts

// Show the server's answers about both views, and the layers for one of them; null for an empty
// paper. Without an argument, show the last answers again, in the language that is chosen now.
export function showInside(inside = shown) {
  shown = inside;
  element("inside-empty").hidden = Boolean(inside);
  element("layers").hidden = !inside;
  if (!inside) return;
  const {answers, view, weights} = inside;
  // A reader's own network may lack some of these layers.
  const hasConv = Boolean(answers[view].conv && weights.kernels);
  const hasNeurons = Boolean(answers[view].hidden);
  const hasVotes = Boolean(weights.weights);
  element("conv").hidden = !hasConv;
  element("neurons").hidden = !hasNeurons;
  element("votes").hidden = !hasVotes;
  const lacksLayers = !hasVotes && !(hasConv && hasNeurons);
  const warning = lacksLayers ? "other-layers" : isDead(inside) && "dead";
  element("dead").textContent = warning ? text(warning) : "";
  showSimilar(inside);
  if (!hasConv) document.querySelector("#neurons .middle").hidden = true; // it speaks of maps
  if (hasConv) showKernels(inside);
  if (hasNeurons) showNeurons(inside);
  if (hasVotes) showVotes(inside);
  showLogits(inside);
}

ballots.append(ballots.firstElementChild.cloneNode(true));
for (const value of DIGITS) {
  const input = make("input", {type: "radio", name: "pick", value});
  element("pick").append(make("label", {}, input, make("span", {textContent: value})));
}
element("pick").addEventListener("change", (event) => {
  picked = Number(event.target.value);
  showVotes(shown);
});
sumBox.querySelector("button").addEventListener("click", closeSum);
for (const canvas of sumBox.querySelectorAll("canvas")) {
  for (const type of ["pointermove", "pointerdown"]) canvas.addEventListener(type, pointAt);
  canvas.addEventListener("mousedown", (event) => event.preventDefault()); // the kernel keeps the focus
}
