// The paper: one draws on it with a mouse, a finger, a pen or the keyboard, moves the drawing, and
// takes changes back. page.js asks the server about the drawing.

import {element, MOVES} from "./inside.js";

const canvas = element("canvas");
const context = canvas.getContext("2d");
const [PAPER, PEN] = [Number(canvas.dataset.paper), Number(canvas.dataset.pen)]; // as the server draws
const PIXEL = PAPER / 28; // of the pictures that the networks see
const MIDDLE = PAPER / 2;
const SHIFT = 8 * PIXEL; // the farthest from the middle, as with SHIFT = 8 of mnist.py
const EDGE = [
  [158, 60],
  [258, 60],
  [208, 220],
]; // what "Try the edge" draws on an empty paper: a 7 at the right edge
const TIP = {button: 0, buttons: 1}; // of a pen; a finger and the mouse's left button say the same
const ERASER = {button: 5, buttons: 32}; // the other end of a pen
const PALM = 1000; // for so many milliseconds after a pen was seen, touches are a resting hand

// The drawing: lists of points [x, y] from 0 to PAPER. Each change but a longer stroke is a new list.
export let strokes = [];
export let photo = null; // what photo.js shows in place of a drawing, or null
const past = []; // {strokes, photo} before each change, for undo()
let edged = null; // the last drawing that "Try the edge" made
let nudged = null; // the last drawing that Shift and an arrow key made
let isMoving = false; // dragging moves the drawing, and does not draw
let pointer = null; // what draws, moves or erases now: {id, type, buttons, act, from, stroke}
let penSeen = -PALM; // when an event of a pen came last
let notify = () => {}; // what is called after each change of the drawing
const keyboard = {x: MIDDLE, y: MIDDLE, stroke: null, held: new Set()};

// ---------------------------------------------------------------- the drawing, or the photo

// Have `listener` called after each change.
export function onChange(listener) {
  notify = listener;
}

// Replace what is on the paper by a drawing, or by a photo.
export function put(drawing, taken = null) {
  lift();
  past.push({strokes, photo});
  show(drawing, taken);
}

export const isEmpty = () => !strokes.length && !photo;

export function clear() {
  lift();
  if (!isEmpty()) put([]);
}

export function undo() {
  lift();
  if (!past.length) return;
  const last = past.pop();
  show(last.strokes, last.photo);
}

// Take away for good what is on the paper: undo() does not bring it back.
export function takeAway() {
  lift();
  past.length = 0;
  show([]);
}

export const isAtEdge = () => strokes === edged;
export const isSeven = () => JSON.stringify(strokes) === JSON.stringify([EDGE]);

// End what the pointer or the keyboard is doing.
function lift() {
  const last = past.at(-1);
  if (last?.strokes === strokes && last.photo === photo) past.pop(); // it has changed nothing
  pointer = null;
  keyboard.stroke = null;
  showPen();
  showButtons();
  remember();
}

function show(drawing, taken = null) {
  [strokes, photo] = [drawing, taken];
  redraw();
}

function redraw() {
  const strokeStyle = getComputedStyle(canvas).color;
  context.setTransform(canvas.width / PAPER, 0, 0, canvas.height / PAPER, 0, 0);
  context.clearRect(0, 0, PAPER, PAPER);
  Object.assign(context, {strokeStyle, lineWidth: PEN, lineCap: "round", lineJoin: "round"});
  for (const stroke of strokes) context.stroke(pathOf(stroke));
  canvas.parentElement.classList.toggle("drawn", strokes.length > 0);
  if (!strokes.length) isMoving = false;
  showButtons();
  if (!pointer) remember();
  notify();
}

function pathOf(stroke) {
  const path = new Path2D();
  path.moveTo(stroke[0][0] - 0.01, stroke[0][1]); // a line without length would not be drawn
  for (const point of stroke) path.lineTo(...point);
  return path;
}

function showButtons() {
  const [toEdge, toMiddle] = element("edge").children;
  [toEdge.hidden, toMiddle.hidden] = [isAtEdge(), !isAtEdge()];
  element("edge").disabled = photo !== null;
  element("undo").disabled = !past.length;
  element("move").disabled = !strokes.length;
  element("move").setAttribute("aria-pressed", isMoving);
  canvas.classList.toggle("moving", isMoving);
}

// The tab remembers the drawing: on a phone, a finger that pulls the page down reloads it.
function remember() {
  try {
    const drawing = JSON.stringify({strokes, isAtEdge: isAtEdge()});
    sessionStorage.setItem("drawing", drawing);
  } catch {} // the browser forbids storage
}

function recall() {
  try {
    const drawing = JSON.parse(sessionStorage.getItem("drawing"));
    strokes = drawing?.strokes ?? [];
    if (drawing?.isAtEdge) edged = strokes;
  } catch {} // the browser forbids storage
}

// ---------------------------------------------------------------- what changes it

const within = (value) => Math.min(Math.max(value, 0), PAPER);
const tenths = (value) => Math.round(10 * value) / 10;

function begin(x, y) {
  const stroke = [[tenths(x), tenths(y)]];
  strokes = [...strokes, stroke];
  photo = null;
  return stroke;
}

function extend(stroke, x, y) {
  const point = [x, y].map((value) => tenths(within(value)));
  const [lastX, lastY] = stroke.at(-1);
  if (Math.hypot(point[0] - lastX, point[1] - lastY) >= 2) stroke.push(point); // closer points would not be visible
}

// A stroke ends where the pointer leaves the paper, and another begins where it comes back.
function draw(x, y) {
  const isOnPaper = x === within(x) && y === within(y);
  if (pointer.stroke) extend(pointer.stroke, x, y);
  pointer.stroke = isOnPaper ? (pointer.stroke ?? begin(x, y)) : null;
}

function erase(x, y) {
  const [left, top] = [x, y].map((value) => (value * canvas.width) / PAPER);
  const rest = strokes.filter((stroke) => !context.isPointInStroke(pathOf(stroke), left, top));
  if (rest.length < strokes.length) strokes = rest;
}

function drag(x, y) {
  const [fromX, fromY] = pointer.from;
  strokes = moved(past.at(-1).strokes, x - fromX, y - fromY);
}

// Return the lowest and the highest x (axis 0) or y (axis 1) of a drawing.
function extent(drawing, axis) {
  const values = drawing.flat().map((point) => point[axis]);
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

// Return a drawing moved so far, or less far if its ink would leave the paper.
function moved(drawing, right, down) {
  const shifts = [right, down].map((wanted, axis) => {
    const [low, high] = extent(drawing, axis);
    const [least, most] = [Math.min(PEN / 2 - low, 0), Math.max(PAPER - PEN / 2 - high, 0)];
    return tenths(Math.min(Math.max(wanted, least), most));
  });
  if (!shifts.some(Boolean)) return drawing;
  const move = (point) => point.map((value, axis) => tenths(value + shifts[axis]));
  return drawing.map((stroke) => stroke.map(move));
}

// Return the centre of mass of a drawing: that of its lines, each as heavy as it is long.
function centreOf(drawing) {
  const sums = [0, 0, 0]; // of the mass times x, of the mass times y, of the mass
  for (const stroke of drawing) {
    stroke.forEach(([x, y], place) => {
      const [lastX, lastY] = stroke[Math.max(place - 1, 0)];
      const mass = Math.hypot(x - lastX, y - lastY) + 0.001; // a dot has some too
      sums[0] += (mass * (x + lastX)) / 2;
      sums[1] += (mass * (y + lastY)) / 2;
      sums[2] += mass;
    });
  }
  return [sums[0] / sums[2], sums[1] / sums[2]];
}

// Move the drawing to the right edge, or from there back to the middle, as MNIST's authors did.
function tryEdge() {
  if (!strokes.length) {
    edged = [EDGE];
    return put(edged);
  }
  const [x, y] = centreOf(strokes);
  if (isAtEdge()) return put(moved(strokes, MIDDLE - x, MIDDLE - y));
  const [, right] = extent(strokes, 0);
  const there = moved(strokes, Math.min(MIDDLE + SHIFT - x, PAPER - PEN / 2 - right), 0);
  if (there === strokes) return; // it is as wide as the paper, or there already
  edged = there;
  put(edged);
}

// Move the drawing by one pixel. Moves that follow each other are undone together.
function nudge([right, down]) {
  lift();
  const drawing = strokes.length ? moved(strokes, PIXEL * right, PIXEL * down) : strokes;
  if (drawing === strokes) return;
  if (strokes !== nudged) past.push({strokes, photo});
  nudged = drawing;
  show(drawing);
}

// ---------------------------------------------------------------- mouse, fingers and pens

function placeOf(event) {
  const {left, top, width} = canvas.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top].map((value) => (value * PAPER) / width);
}

for (const type of ["pointerdown", "pointermove", "pointerup"]) {
  canvas.addEventListener(type, ({pointerType, timeStamp}) => {
    if (pointerType === "pen") penSeen = timeStamp;
  });
}

canvas.addEventListener("pointerdown", (event) => {
  const end = [TIP, ERASER].find(({button}) => button === event.button);
  const isPenAtWork = pointer?.type === "pen" || event.timeStamp - penSeen < PALM;
  const isPalm = event.pointerType === "touch" && isPenAtWork;
  const isSecondFinger = pointer && !event.isPrimary;
  if (!end || isPalm || isSecondFinger) return;
  // The hand may touch the paper before the pen does: what it drew goes.
  if (event.pointerType === "pen" && pointer?.type === "touch") ({strokes, photo} = past.at(-1));
  document.activeElement?.blur(); // else Space would press the button that was clicked last
  lift();
  canvas.setPointerCapture(event.pointerId);
  let act = isMoving ? drag : draw;
  if (end === ERASER) act = erase;
  const {pointerId: id, pointerType: type} = event;
  pointer = {id, type, buttons: end.buttons, act, from: placeOf(event), stroke: null};
  past.push({strokes, photo});
  act(...pointer.from);
  redraw();
});

canvas.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer?.id) return;
  if (!(event.buttons & pointer.buttons)) return lift(); // its pointerup was lost
  const parts = event.getCoalescedEvents?.() ?? [];
  for (const part of parts.length ? parts : [event]) pointer.act(...placeOf(part));
  redraw();
});

for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
  canvas.addEventListener(type, (event) => {
    if (event.pointerId === pointer?.id) lift();
  });
}

// The mouse does not focus the paper: then Space and the arrow keys scroll the page as usual.
canvas.addEventListener("mousedown", (event) => event.preventDefault());

// ---------------------------------------------------------------- the keyboard, and buttons

function showPen() {
  const [left, top] = [keyboard.x, keyboard.y].map((value) => `${(100 * value) / PAPER}%`);
  Object.assign(element("pen").style, {left, top});
  element("pen").classList.toggle("down", keyboard.stroke !== null);
}

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") {
    const wasDown = keyboard.stroke !== null;
    lift();
    if (!wasDown) {
      past.push({strokes, photo});
      keyboard.stroke = begin(keyboard.x, keyboard.y);
    }
  } else if (event.key in MOVES && !event.shiftKey) {
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
  if (keyboard.stroke) redraw();
});
canvas.addEventListener("keyup", (event) => keyboard.held.delete(event.key));
canvas.addEventListener("blur", () => {
  keyboard.held.clear();
  lift();
});

document.addEventListener("keydown", (event) => {
  if (event.altKey) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault(); // Safari would open a closed tab again
    undo();
  }
  // In a list or beside a button, arrow keys choose.
  const isOnPaper = [canvas, document.body].includes(event.target);
  if (isOnPaper && event.shiftKey && !isCommand && event.key in MOVES) {
    event.preventDefault();
    nudge(MOVES[event.key]);
  }
});
element("clear").addEventListener("click", clear);
element("undo").addEventListener("click", undo);
element("move").addEventListener("click", () => {
  isMoving = !isMoving;
  showButtons();
});
element("edge").addEventListener("click", tryEdge);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
recall();
redraw();
