// A photo in place of a drawing: chosen, dropped, pasted, or one of the examples. The paper shows it.

import {element} from "./inside.js";
import {englishOrChinese, text} from "./texts.js";

const MOST_BYTES = 20 * 1024 * 1024; // the server reads no larger file
const SIDE = 1200; // the longer side of what is sent: the server needs no more
const canvas = element("photo");

let photo = null; // what is shown: {bitmap, blob}, or null

// Show a photo, or with null none.
export function showPhoto(next) {
  if (next === photo) return;
  photo = next;
  canvas.hidden = !photo;
  canvas.parentElement.classList.toggle("photographed", Boolean(photo));
  if (photo) draw();
  nameViews();
  describePhoto(null);
}

// Name the two views after what they show.
export function nameViews() {
  for (const part of document.querySelectorAll("[data-photo]")) {
    part.textContent = photo ? text(part.dataset.photo) : englishOrChinese(part);
  }
}

function draw() {
  [canvas.width, canvas.height] = [photo.bitmap.width, photo.bitmap.height];
  canvas.getContext("2d").drawImage(photo.bitmap, 0, 0);
}

// Say what the server found in the photo.
export function describePhoto(answer) {
  const says = answer ? [text(answer.inverted ? "photo-inverted" : "photo-light")] : [];
  if (answer?.digits > 1) {
    says.push(text("photo-digits"));
    markBox(answer.box);
  }
  element("photo-says").textContent = says.join(text("space"));
}

function markBox([left, top, right, bottom]) {
  draw();
  const {width, height} = canvas;
  const context = canvas.getContext("2d");
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = Math.max(width, height) / 100;
  context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
}

// Reduce a photo to what is shown and sent, if it is larger.
async function reduce(bitmap, file) {
  const scale = SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return {bitmap, blob: file};
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.ceil(side * scale));
  const reduced = new OffscreenCanvas(width, height);
  const context = reduced.getContext("2d");
  context.fillStyle = "white"; // what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const blob = await reduced.convertToBlob({type: "image/jpeg", quality: 0.9});
  return {bitmap: await createImageBitmap(reduced), blob};
}

// Call `take` with each photo that the reader gives, or `fail` with the code of what is wrong.
export function watchPhotos(take, fail) {
  async function open(file) {
    if (!file) return;
    if (file.size > MOST_BYTES) return fail("too-large-photo");
    const bitmap = await createImageBitmap(file).catch(() => null); // turned as the file says
    if (!bitmap) return fail("not-a-photo");
    take(await reduce(bitmap, file));
  }

  element("choose-photo").addEventListener("click", () => element("photo-file").click());
  element("photo-file").addEventListener("change", ({target}) => {
    open(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", ({clipboardData}) => open(clipboardData.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault()); // so that one may drop
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // the browser would leave the page and show the file
    open(event.dataTransfer.files[0]);
  });
  for (const button of element("examples").querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      const response = await fetch(button.querySelector("img").src).catch(() => null);
      if (!response) return fail("server-gone");
      open(await response.blob());
    });
  }
}
