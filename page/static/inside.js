// What stands under "Look inside": the training digits most like the drawing, then every layer of the network.
// page.js asks the server, and gives what it answers to showInside().

import {number, percent, text} from "./texts.js";

export const DIGITS = [..."0123456789"];
export const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};  // right, down
export const element = id => document.getElementById(id);

const sum = numbers => numbers.reduce((a, b) => a + b, 0);
const range = length => Array.from({length}, (_, place) => place);

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Fill a group of buttons of which one is chosen.
export function choices(group, labels, chosen, choose) {
  if (group.children.length !== labels.length) {
    group.replaceChildren(...labels.map(() => make("button", {type: "button"})));
  }
  [...group.children].forEach((button, place) => {
    button.textContent = labels[place];
    button.ariaPressed = place === chosen;
    button.onclick = () => choose(place);
  });
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
}

// ---------------------------------------------------------------- numbers as colours

function colour(name) {  // of page.css, where they are written as #rrggbb
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map(place => parseInt(hex.slice(place, place + 2), 16));
}

// Paint numbers from -1 to 1 into a canvas, a pixel each: 0 is transparent, and below 0 begins another colour.
export function paint(canvas, values, above = "--plus", below = "--minus") {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const [plus, minus] = [colour(above), colour(below)];
  Array.from(values).forEach((value, place) => {
    image.data.set(value < 0 ? minus : plus, 4 * place);
    image.data[4 * place + 3] = Math.round(255 * Math.min(1, Math.abs(value)));
  });
  context.putImageData(image, 0, 0);
}

const largest = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;

function showScales(place, scales) {  // [[what, lowest, highest], ..]
  place.replaceChildren(...scales.map(([what, low, high]) => make("span", {className: "scale"},
    `${what} ${number(low, 2)}`, make("i", {className: low < 0 ? "both" : "plus"}), number(high, 2))));
}

// Round a bias and what is added to it, in steps of 0.001, so that those shown add up to what is shown as their sum.
// The bias is rounded as it is everywhere; of the others some go up and the rest down.
function roundTogether(bias, values) {
  const steps = values.map(value => 1000 * value), rounded = steps.map(Math.floor), shownBias = Math.round(1000 * bias);
  const up = Math.round(sum(steps) + 1000 * bias) - shownBias - sum(rounded);
  const byRest = range(values.length).sort((a, b) => steps[b] - rounded[b] - (steps[a] - rounded[a]));
  for (const place of byRest.slice(0, up)) rounded[place] += 1;
  return [shownBias, ...rounded].map(step => step / 1000);
}

// ---------------------------------------------------------------- the training digits most like the drawing

// All of MNIST's test digits, shifted to the right by so many pixels: the median likeness of the best match, and how
// many of them a default run reads. Measured by tests/edge_lesson.py, once: it is not the curve of the run that is
// shown, and stands beside none that reads otherwise.
const SHIFTS = {pixels: [0, 2, 4, 6, 8], likeness: [.90, .79, .66, .55, .45], accuracy: [.979, .866, .449, .176, .113]};

const liesInTheMiddle = ({data}) => ["MNIST", "generated digits, not MNIST"].includes(data);

function showSimilar({answers, run}) {
  const names = ["as-drawn", "centred"].map(view => text(view));
  const missing = answers.find(({similar}) => !similar.length);
  document.querySelector("#similar .matches").replaceChildren(...answers.map(({similar, why_none, why_code}, view) =>
    make("div", {className: "match"}, make("h3", {textContent: names[view]}), similar.length
      ? make("ol", {}, ...similar.map(showMatch))
      : make("p", {textContent: why_code ? text(why_code) : why_none}))));
  const best = answers.map(({similar}) => similar[0]?.likeness), {usual} = answers[0];
  document.querySelector("#similar .usual").textContent = usual && !missing
    ? text("similar-usual", {usual: percent(usual), drawn: percent(best[0]), centred: percent(best[1])}) : "";
  // Of files that somebody else put into the folder, nobody knows where their digits lie.
  document.querySelector("#similar .middle").textContent = liesInTheMiddle(run) ? text("similar-middle") : "";
  const figure = document.querySelector("#similar .shift");
  const readsAlike = run.network === "convolutional" && run.data === "MNIST" && run.accuracy >= .5;
  figure.hidden = !readsAlike || Boolean(missing);
  if (!figure.hidden) showShifts(figure, names.map((name, view) => [name, best[view]]));
}

function showMatch({label, likeness, picture}) {
  const canvas = make("canvas", {width: 28, height: 28, role: "img"});
  canvas.ariaLabel = text("similar-one", {label, likeness: percent(likeness)});
  paint(canvas, Array.from(bytes(picture), value => value / 255), "--ink");
  return make("li", {}, canvas, make("b", {textContent: label}), make("span", {textContent: percent(likeness)}));
}

function svg(tag, attributes, content = "") {
  const part = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
  part.textContent = content;
  return part;
}

// Draw how often shifted digits are read correctly, by how much they are like any training digit; and where yours are.
function showShifts(figure, yours) {
  const [left, right, top, bottom] = [58, 312, 46, 168], middle = (left + right) / 2;
  const x = likeness => left + (right - left) * (Math.max(likeness, .2) - .2) / .8;
  const y = accuracy => bottom - (bottom - top) * accuracy;
  const word = (x, y, anchor, content, more = {}) => svg("text", {x, y, "text-anchor": anchor, ...more}, content);
  const {pixels, likeness, accuracy} = SHIFTS, list = shares => shares.map(share => percent(share)).join(text("comma"));
  const picture = svg("svg", {viewBox: "0 0 324 210", role: "img"});
  picture.ariaLabel = text("shift-why", {likenesses: list(likeness), accuracies: list(accuracy)});
  picture.append(
    ...[0, .5, 1].flatMap(share => [
      svg("line", {class: "grid", x1: left, x2: right, y1: y(share), y2: y(share)}),
      word(left - 6, y(share) + 4, "end", percent(share)),
    ]),
    ...[.2, .4, .6, .8, 1].map(share => word(x(share), bottom + 16, "middle", percent(share))),
    word(middle, bottom + 36, "middle", text("shift-x")),
    word(0, 0, "middle", text("shift-y"), {transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`}),
    ...yours.map(([, share], view) => svg("line", {
      class: view ? "yours" : "yours first", x1: x(share), x2: x(share), y1: 18 + 16 * view, y2: bottom,
    })),
    svg("polyline", {points: likeness.map((share, place) => [x(share), y(accuracy[place])]).join(" ")}),
    ...likeness.flatMap((share, place) => [
      svg("circle", {cx: x(share), cy: y(accuracy[place]), r: 4}),
      word(x(share) - 7, y(accuracy[place]) - 5, "end", text("shift-point", {pixels: pixels[place]})),
    ]),
    ...yours.map(([name, share], view) => word(x(share), 13 + 16 * view, x(share) > middle ? "end" : "start",
      `${name} ${percent(share)}`, {class: "yours"})),
  );
  figure.querySelector("svg")?.remove();
  figure.firstElementChild.after(picture);
}

// ---------------------------------------------------------------- the convolutional layer

let shown = null;                 // what showInside() was given last
let opened = null;                // the kernel whose sum is shown, or null
let place = {row: 14, column: 14};  // of which number in its feature map

function featureMaps({bytes: base64, scale, shape: [, , kernels]}) {
  const values = bytes(base64);
  return {scale, kernels, at: (kernel, row, column) => values[(28 * row + column) * kernels + kernel] / 255};
}

const squares = range(14).flatMap(row => range(14).map(column => [2 * row, 2 * column]));
const fours = ([row, column]) => [[row, column], [row, column + 1], [row + 1, column], [row + 1, column + 1]];

function showConvolution({answers, view, weights: {kernels}}) {
  const maps = featureMaps(answers[view].conv), box = document.querySelector("#conv .kernels");
  const most = largest(kernels.flat(2));
  if (box.querySelectorAll(".kernel").length !== kernels.length) {
    opened = null;
    box.replaceChildren(...kernels.map((_, kernel) => makeKernel(kernel)));
  }
  box.querySelectorAll(".kernel").forEach((button, kernel) => {
    const [weights, map, pooled] = button.querySelectorAll("canvas");
    const values = range(784).map(n => maps.at(kernel, Math.floor(n / 28), n % 28));
    paint(weights, kernels[kernel].flat().map(weight => weight / most));
    paint(map, values);
    paint(pooled, squares.map(square => Math.max(...fours(square).map(spot => maps.at(kernel, ...spot)))));
    button.ariaLabel = describeMap(kernel, values, maps.scale);
    button.ariaExpanded = kernel === opened;
  });
  showScales(document.querySelector("#conv .scales"),
    [[text("scale-weights"), -most, most], [text("scale-maps"), 0, maps.scale]]);
  showSum();
}

function describeMap(kernel, values, scale) {
  const most = Math.max(...values), strongest = values.indexOf(most);
  return most === 0 ? text("kernel-silent", {kernel: kernel + 1}) : text("kernel-says", {
    kernel: kernel + 1, row: Math.floor(strongest / 28) + 1, column: strongest % 28 + 1, value: number(most * scale, 2),
    places: values.filter(value => value > 0).length,
  });
}

function makeKernel(kernel) {
  const [weights, map, pooled] = [5, 28, 14].map(size => make("canvas", {width: size, height: size}));
  const button = make("button", {className: "kernel", type: "button"}, weights, map, pooled);
  const open = () => {
    opened = kernel;
    place = strongest(kernel);
    showConvolution(shown);
  };
  let wasOpen = false;  // before the pointer came: its focus opens the sum, and its click must not close it again
  button.addEventListener("pointerdown", () => { wasOpen = opened === kernel; });
  button.addEventListener("focus", () => { if (opened !== kernel) open(); });
  button.addEventListener("click", event => {
    const byKey = event.detail === 0;
    if (byKey ? opened === kernel : wasOpen) closeSum();
    else open();
  });
  button.addEventListener("keydown", event => {
    if (!(event.key in ARROWS) || opened !== kernel) return;
    const [right, down] = ARROWS[event.key];
    event.preventDefault();  // it would scroll the page
    go({row: place.row + down, column: place.column + right});
  });
  return button;
}

// Of the places with ink under the kernel, the one with the largest sum.
function strongest(kernel) {
  const {view, images, weights: {kernels, biases}} = shown, weights = kernels[kernel].flat();
  const sums = range(784).map(n => {
    const {pixels, total} = convolve(images[view], weights, biases[kernel], [Math.floor(n / 28), n % 28]);
    return pixels.some(pixel => pixel > 0) ? total : -Infinity;
  });
  const best = sums.indexOf(Math.max(...sums));
  return {row: Math.floor(best / 28), column: best % 28};
}

function spotUnder(event, canvas) {
  const box = canvas.getBoundingClientRect();
  const share = {row: (event.clientY - box.top) / box.height, column: (event.clientX - box.left) / box.width};
  return {row: Math.floor(28 * share.row), column: Math.floor(28 * share.column)};
}

function within({row, column}) {
  const clamp = value => Math.min(Math.max(value, 0), 27);
  return {row: clamp(row), column: clamp(column)};
}

function go(spot) {
  place = within(spot);
  showSum();
}

// ---------------------------------------------------------------- the sum behind a number of a feature map

// The 25 pixels under a kernel, null beside the picture, and what comes of them.
function convolve(image, weights, bias, [row, column]) {
  const pixels = range(25).map(n => {
    const [y, x] = [row + Math.floor(n / 5) - 2, column + n % 5 - 2];
    return y < 0 || y > 27 || x < 0 || x > 27 ? null : image[28 * y + x];
  });
  const products = pixels.map((pixel, n) => pixel * weights[n]);
  return {pixels, products, total: sum(products) + bias};
}

// Close the sum, and tell whether one was to be seen.
export function closeSum() {
  const box = document.querySelector(".sum");
  if (!box?.getClientRects().length) return false;
  // While it is still open, for its focus opens what is closed.
  if (box.contains(document.activeElement)) document.querySelectorAll("#conv .kernel")[opened].focus();
  opened = null;
  showConvolution(shown);
  return true;
}

function showSum() {
  let box = document.querySelector(".sum");
  if (opened === null) return box?.remove();
  box ??= makeSum();
  const button = document.querySelectorAll("#conv .kernel")[opened];
  if (button.nextElementSibling !== box) button.after(box);  // the grid closes the gap before it

  const {view, images, answers, weights: {kernels, biases}} = shown, most = largest(kernels.flat(2));
  const weights = kernels[opened].flat(), bias = biases[opened], {row, column} = place;
  const at = spot => convolve(images[view], weights, bias, spot);
  const {pixels, products, total} = at([row, column]);
  const [shownBias, ...shownProducts] = roundTogether(bias, products);
  showNumbers(box, "pixels", pixels, 1);
  showNumbers(box, "weights", weights, most);
  showNumbers(box, "products", shownProducts, most);

  const together = sum(shownProducts), relu = Math.max(0, total);
  showLines(box.querySelector("dl"), [
    ["products", text("sum-of-products"), together],
    ["bias", `+ ${text("sum-bias")}`, shownBias],
    ["total", `= ${text("sum-sum")}`, together + shownBias],
    ["relu", text(total > 0 ? "sum-relu-keeps" : "sum-relu-cuts"), relu],
  ]);
  const activation = spot => Math.max(0, at(spot).total), {scale} = answers[view].conv;
  const pooled = showPooling(box, fours([row - row % 2, column - column % 2]), activation, scale);

  const spot = {row: row + 1, column: column + 1}, three = value => number(value, 3);
  box.querySelector(".place").textContent = text("sum-place", spot);
  box.querySelector("[aria-live]").textContent = text("sum-spoken", {
    ...spot, products: three(together), bias: three(shownBias), sum: three(together + shownBias), relu: three(relu),
    pooled: three(pooled),
  });
  showMaps(box, images[view]);
}

function makeSum() {
  const box = element("sum").content.cloneNode(true).firstElementChild;
  for (const part of box.querySelectorAll("[data-text]")) part.textContent = text(part.dataset.text);
  for (const canvas of box.querySelectorAll("canvas")) {
    const point = event => go(spotUnder(event, canvas));
    for (const type of ["pointermove", "pointerdown"]) canvas.addEventListener(type, point);
    canvas.addEventListener("mousedown", event => event.preventDefault());  // the kernel keeps the focus, for the arrow keys
  }
  box.querySelector("button").addEventListener("click", closeSum);
  return box;
}

function showPooling(box, spots, value, scale) {
  const values = spots.map(value), kept = Math.max(...values);
  const here = spots.findIndex(([row, column]) => row === place.row && column === place.column);
  showNumbers(box, "pooling", values, scale);
  const cells = box.querySelectorAll("[data-numbers=pooling] span");
  cells[values.indexOf(kept)].classList.add("kept");
  cells[here].classList.add("here");
  box.querySelector(".result figcaption").textContent = text("sum-pooling", {value: number(kept, 3)});
  return kept;
}

function showNumbers(parent, name, values, scale) {
  const box = parent.querySelector(`[data-numbers=${name}]`);
  if (box.children.length !== values.length) box.replaceChildren(...values.map(() => make("span")));
  values.forEach((value, place) => {
    const cell = box.children[place];
    cell.textContent = value === null ? "0" : number(value, 3);
    cell.className = value === null ? "beside-picture" : value < 0 ? "minus" : "plus";
    cell.style.setProperty("--strength", Math.min(1, Math.abs(value) / (scale || 1)));
  });
}

// Show a sum line by line: [[name, what, number], ..].
function showLines(list, lines) {
  list.replaceChildren(...lines.map(([name, term, value]) => {
    const line = make("div", {}, make("dt", {textContent: term}), make("dd", {textContent: number(value, 3)}));
    line.dataset.sum = name;
    return line;
  }));
}

function showMaps(box, image) {
  const canvases = box.querySelectorAll("canvas"), frames = box.querySelectorAll(".map i");
  const [, map, pooled] = document.querySelectorAll("#conv .kernel")[opened].querySelectorAll("canvas");
  paint(canvases[0], image, "--ink");
  [map, pooled].forEach((source, which) => {
    const context = canvases[which + 1].getContext("2d");
    context.clearRect(0, 0, 28, 28);
    context.drawImage(source, 0, 0);
  });
  const {row, column} = place;
  frame(frames[0], row - 2, column - 2, 5, 28);
  frame(frames[1], row, column, 1, 28);
  frame(frames[2], Math.floor(row / 2), Math.floor(column / 2), 1, 14);
}

function frame(box, row, column, size, of) {
  const share = places => `${100 * places / of}%`;
  Object.assign(box.style, {top: share(row), left: share(column), width: share(size), height: share(size)});
}

// ---------------------------------------------------------------- the neurons

// Whether nothing that one draws comes through a layer: no kernel answers to either picture, or no neuron to anything.
function isDead({answers, weights: {dead}}) {
  const silent = layer => answers.every(answer => bytes(answer[layer].bytes).every(value => value === 0));
  return silent("conv") || silent("hidden") && (dead?.length ?? Infinity) >= answers[0].hidden.shape[0];
}

function showNeurons({answers, view, run, weights: {dead, tried}}) {
  const {bytes: base64, scale, shape: [neurons]} = answers[view].hidden;
  const values = bytes(base64), isDead = new Set(dead ?? []);
  const canvas = document.querySelector("#neurons canvas"), context = canvas.getContext("2d");
  const columns = Math.ceil(Math.sqrt(neurons)), size = canvas.width / columns, radius = Math.min(.42 * size, 40);
  const [plus, line, soft] = ["--plus", "--line", "--soft"].map(name => `rgb(${colour(name)})`);
  canvas.style.setProperty("--columns", columns);
  context.clearRect(0, 0, canvas.width, canvas.height);
  values.forEach((value, neuron) => {
    const [x, y] = [(neuron % columns + .5) * size, (Math.floor(neuron / columns) + .5) * size];
    const silent = value === 0, reach = silent ? .5 * radius : radius;
    context.globalAlpha = silent ? 1 : .15 + .85 * value / 255;
    context.fillStyle = silent ? line : plus;
    context.beginPath();
    if (silent && isDead.has(neuron)) {
      context.globalAlpha = 1;
      context.strokeStyle = soft;
      context.lineWidth = Math.max(1, radius / 6);
      for (const side of [-1, 1]) {
        context.moveTo(x - reach, y - side * reach);
        context.lineTo(x + reach, y + side * reach);
      }
      context.stroke();
    } else {
      context.arc(x, y, reach, 0, 2 * Math.PI);
      context.fill();
    }
  });

  const active = values.filter(value => value > 0).length, most = Math.max(...values);
  const facts = {active: number(active), neurons: number(neurons), silent: number(neurons - active)};
  canvas.ariaLabel = [
    text("hidden-says", facts),
    most ? text("hidden-strongest", {neuron: number(values.indexOf(most) + 1), value: number(scale, 2)}) : "",
    isDead.size ? text("hidden-dead", {dead: number(isDead.size), tried: number(tried)}) : "",
  ].filter(Boolean).join(text("space"));
  document.querySelector("#neurons .says").textContent = canvas.ariaLabel;
  document.querySelector("#neurons .soft").textContent =
    text("hidden-why", {inputs: number(196 * answers[view].conv.shape[2])});
  document.querySelector("#neurons .edge").textContent = liesInTheMiddle(run) ? text("hidden-edge") : "";
}

// ---------------------------------------------------------------- softmax regression: every pixel votes

let wondered = null;  // the digit that the reader picked, or null

function showVotes({answers, view, images, weights}) {
  const {logits} = answers[view], answer = logits.indexOf(Math.max(...logits));
  const matrix = new Float32Array(bytes(weights.weights).buffer), most = largest(matrix);
  const second = logits.indexOf(Math.max(...logits.filter((_, digit) => digit !== answer)));
  const centred = answers[1].logits.indexOf(Math.max(...answers[1].logits));
  const other = [wondered, centred, second].find(digit => digit !== null && digit !== answer);
  const box = document.querySelector("#votes .ballots");
  if (!box.children.length) box.append(makeBallot(), makeBallot());
  [answer, other].forEach((digit, which) => {
    const ballot = box.children[which], column = range(784).map(pixel => matrix[10 * pixel + digit]);
    ballot.querySelector("h3").textContent = text(which ? "votes-other" : "votes-answer", {digit});
    showBallot(ballot, digit, column, images[view], weights.biases[digit], most);
  });
  choices(document.querySelector("#votes .pick"), DIGITS, other, digit => { wondered = digit; showVotes(shown); });
  showScales(document.querySelector("#votes .scales"), [[text("scale-weights"), -most, most]]);
}

function makeBallot() {
  const maps = ["votes-weights", "votes-map"].map(name => {
    const caption = make("figcaption", {textContent: text(name)});
    caption.dataset.text = name;
    const canvas = make("canvas", {width: 28, height: 28, role: "img"});
    return make("figure", {}, make("div", {className: "map"}, canvas), caption);
  });
  return make("div", {className: "ballot"}, make("h3"), make("div", {className: "maps"}, ...maps), make("dl"));
}

function showBallot(ballot, digit, column, image, bias, most) {
  const votes = column.map((weight, pixel) => weight * image[pixel]);
  const parts = [sum(votes.filter(vote => vote > 0)), sum(votes.filter(vote => vote < 0))];
  const [rounded, plus, minus] = roundTogether(bias, parts);
  const [template, map] = ballot.querySelectorAll("canvas");
  paint(template, column.map(weight => weight / most));
  paint(map, votes.map(vote => vote / most));
  template.ariaLabel = text("votes-weights");
  map.ariaLabel = text("votes-picture", {digit, plus: number(plus, 3), minus: number(minus, 3)});
  showLines(ballot.querySelector("dl"), [
    ["for", text("votes-for"), plus],
    ["against", `+ ${text("votes-against")}`, minus],
    ["bias", `+ ${text("sum-bias")}`, rounded],
    ["logit", `= ${text("logit")}`, plus + minus + rounded],
  ]);
}

// ---------------------------------------------------------------- the logits

function showLogits({answers, view}) {
  const {logits} = answers[view], most = Math.max(...logits), scale = largest(logits);
  const powers = logits.map(logit => Math.exp(logit - most)), shares = powers.map(power => power / sum(powers));
  const head = make("tr", {}, ...["digit", "", "logit", "softmax-share"].map(name =>
    make("th", {scope: "col", textContent: name && text(name)})));
  const rows = logits.map((logit, digit) => {
    const bar = make("i", {className: logit < 0 ? "minus" : "plus"});
    bar.style.setProperty("--length", `${50 * Math.abs(logit) / scale}%`);
    const row = make("tr", {className: digit === logits.indexOf(most) ? "wins" : ""},
      make("th", {scope: "row", textContent: digit}), make("td", {className: "bar"}, bar),
      make("td", {textContent: number(logit, 2)}), make("td", {textContent: percent(shares[digit], 1)}));
    row.dataset.digit = digit;
    return row;
  });
  document.querySelector("#logits table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

// ---------------------------------------------------------------- all of it

// Show what the server's two answers (as drawn, centred) say, the layers for the chosen view; null for an empty paper.
export function showInside(inside) {
  shown = inside;
  element("inside-empty").hidden = Boolean(inside);
  element("layers").hidden = !inside;
  if (!inside) return;
  const {network, conv} = inside.answers[inside.view], softmax = network === "softmax";
  element("conv").hidden = element("neurons").hidden = !conv;
  element("votes").hidden = !softmax;
  element("dead").textContent = conv && isDead(inside) ? text("dead") : conv || softmax ? "" : text("other-layers");
  showSimilar(inside);
  if (conv) {
    showConvolution(inside);
    showNeurons(inside);
  }
  if (softmax) showVotes(inside);
  showLogits(inside);
}
