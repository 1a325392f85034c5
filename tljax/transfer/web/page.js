// The page of a classifier: photos become pixels, pixels become probabilities, all in this browser.
// `tljax export RUN --out FOLDER --format web` wrote model.onnx and model.json beside it.

import * as ort from "./runtime/ort.wasm.bundle.min.mjs";

const MOST_PIXELS = 16_000_000; // what every browser's canvas can hold; a larger photo is made smaller first
const SHOWN = 5;

ort.env.wasm.numThreads = 1; // several need headers that a plain server does not send

const byId = (id) => document.getElementById(id);
let model, session;

// --- resizing, as Pillow does it -----------------------------------------------------------------------------

const KERNELS = {
  bilinear: { reach: 1, at: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: {
    reach: 2,
    at: (x) => {
      x = Math.abs(x);
      return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
    },
  },
};

// For each of `size` pixels between `from` and `to`: the first source pixel that counts, and how much it and those
// after it count, in whole 2**-22ths.
function weightsOf(from, to, length, size, kernel) {
  from = Math.fround(from);
  const step = Math.fround(Math.fround(to) - from) / size;
  const stretch = Math.max(step, 1);
  const support = kernel.reach * stretch;
  return Array.from({ length: size }, (_, i) => {
    const centre = from + (i + 0.5) * step;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), length);
    const values = Array.from({ length: last - first }, (_, x) => kernel.at((x + first - centre + 0.5) * (1 / stretch)));
    const sum = values.reduce((a, b) => a + b, 0);
    return { first, values: values.map((v) => Math.trunc((v / sum) * (1 << 22) + (v / sum < 0 ? -0.5 : 0.5))) };
  });
}

const to8bit = (sum) => Math.min(Math.max((sum + (1 << 21)) >> 22, 0), 255);

// Along each of the lines, an output pixel is a weighted sum of pixels that lie `stride` numbers apart.
function pass(pixels, weights, lines, { line, stride, outLine, outStride }) {
  const out = new Uint8ClampedArray(lines * weights.length * 3);
  for (let l = 0; l < lines; l++) {
    weights.forEach(({ first, values }, i) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        let at = l * line + first * stride + c;
        for (const value of values) {
          sum += pixels[at] * value;
          at += stride;
        }
        out[l * outLine + i * outStride + c] = to8bit(sum);
      }
    });
  }
  return out;
}

function roundHalfToEven(x) {
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2) : Math.round(x);
}

// What of a side of the source is seen: positions between its pixels, and on how many pixels.
function part(side, width, height, { crop_mode, resize_size, input_size: size }) {
  if (crop_mode === "squash") return { from: 0, to: side, count: size };
  if (crop_mode === "border") {
    return { from: 0, to: side, count: Math.max(roundHalfToEven((size * side) / Math.max(width, height)), 1) };
  }
  const resized = Math.trunc((resize_size * side) / Math.min(width, height));
  const start = roundHalfToEven((resized - size) / 2);
  return { from: (start * side) / resized, to: Math.min(((start + size) * side) / resized, side), count: size };
}

// Resized, and the central square cut out (or a border laid around: `crop_mode`). `rowsOf(top, rows)` gives RGBA of the
// source; returns RGB of the square.
export function preprocess(width, height, rowsOf, facts) {
  const kernel = KERNELS[facts.interpolation];
  const x = part(width, width, height, facts);
  const y = part(height, width, height, facts);
  const reach = 3 * Math.max((y.to - y.from) / y.count, 1);
  const top = Math.max(Math.trunc(y.from - reach), 0);
  const rows = Math.min(Math.ceil(y.to + reach), height) - top;
  const across = { line: width * 4, stride: 4, outLine: x.count * 3, outStride: 3 };
  const narrow = pass(rowsOf(top, rows), weightsOf(x.from, x.to, width, x.count, kernel), rows, across);
  const down = { line: 3, stride: x.count * 3, outLine: 3, outStride: x.count * 3 };
  return framed(pass(narrow, weightsOf(y.from - top, y.to - top, rows, y.count, kernel), x.count, down), x.count, facts);
}

// In the middle of a square of the mean colour.
function framed(pixels, width, { input_size: size, mean }) {
  const height = pixels.length / 3 / width;
  if (width === size && height === size) return pixels;
  const colour = mean.map((share) => Math.round(255 * share));
  const square = Uint8ClampedArray.from({ length: size * size * 3 }, (_, i) => colour[i % 3]);
  const [left, top] = [Math.floor((size - width) / 2), Math.floor((size - height) / 2)];
  for (let row = 0; row < height; row++) {
    square.set(pixels.subarray(row * width * 3, (row + 1) * width * 3), ((top + row) * size + left) * 3);
  }
  return square;
}

// What the network sees of a picture that the browser can draw.
function seen(picture, width, height) {
  const scale = Math.min(Math.sqrt(MOST_PIXELS / (width * height)), 1);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(Math.round(width * scale), 1);
  canvas.height = Math.max(Math.round(height * scale), 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // under what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const rowsOf = (top, rows) => context.getImageData(0, top, canvas.width, rows).data;
  return preprocess(canvas.width, canvas.height, rowsOf, model);
}

// --- the network ---------------------------------------------------------------------------------------------

async function load() {
  const response = await fetch("model.json");
  if (!response.ok) throw new Error(`model.json: HTTP status ${response.status}`);
  model = await response.json();
  session = await ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });
  const tells = session.outputNames.includes("unknown")
    ? "It says where a photo is unlike all of them, though not always. "
    : "It always answers with one of them, also where none is in the photo. ";
  document.title = model.name;
  byId("title").textContent = model.name;
  byId("about").textContent =
    `Tells ${model.classes.length} classes apart: ${listed(model.classes)}. ${tells}` +
    `Network: ${model.model}${model.licence && `, ${model.licence}`}. ` +
    "Made with tljax and ONNX Runtime Web.";
}

function listed(names) {
  return names.slice(0, 20).join(", ") + (names.length > 20 ? `, and ${names.length - 20} more` : "");
}

async function classify(pixels) {
  const size = model.input_size;
  const images = new ort.Tensor("uint8", new Uint8Array(pixels.buffer), [1, size, size, 3]);
  const { output, unknown, heat } = await session.run({ input_0: images });
  const warmth = heat && { values: heat.data, height: heat.dims[1], width: heat.dims[2] };
  return { probs: output.data, unknown: unknown?.data[0] > 1, heat: warmth };
}

// --- the page ------------------------------------------------------------------------------------------------

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const percent = (prob) => `${(100 * prob).toFixed(1)} %`;

// A canvas of the given pixels; `rgba` gives the four numbers of the i-th.
function drawing(width, height, rgba, className) {
  const canvas = make("canvas", className);
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) image.data.set(rgba(i), 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function bar(name, prob) {
  const row = make("li", "");
  row.dataset.prob = prob;
  const line = make("div", "bar");
  line.append(make("span", ""));
  line.firstChild.style.width = `${100 * prob}%`;
  row.append(make("span", "name", name), line, make("span", "share", percent(prob)));
  return row;
}

function photoWith(heat, pixels, label) {
  const size = model.input_size;
  const photo = make("div", "photo");
  const frame = make("div", "frame");
  const picture = drawing(size, size, (i) => [...pixels.subarray(3 * i, 3 * i + 3), 255], "");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `The photo as the network sees it: ${label}`);
  frame.append(picture);
  photo.append(frame);
  if (heat) {
    const over = drawing(heat.width, heat.height, (i) => [255, 60, 0, 255 * heat.values[i]], "heat");
    over.hidden = true;
    const button = make("button", "quiet", "Show what speaks for it");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      over.hidden = !over.hidden;
      button.setAttribute("aria-pressed", String(!over.hidden));
    });
    frame.append(over);
    photo.append(button);
  }
  return photo;
}

function show(file, pixels, { probs, unknown, heat }) {
  const best = Array.from(probs, (prob, i) => ({ prob, name: model.classes[i] })).sort((a, b) => b.prob - a.prob);
  const words = make("div", "words");
  const bars = make("ol", "");
  bars.append(...best.slice(0, SHOWN).map(({ name, prob }) => bar(name, prob)));
  const heading = unknown ? "none of these" : best[0].name;
  words.append(make("h2", "", heading), make("p", "file", file), bars);
  const card = make("article", "");
  card.dataset.file = file;
  card.dataset.unknown = unknown;
  card.append(photoWith(heat, pixels, best[0].name), words);
  byId("results").prepend(card);
  return unknown ? { ...best[0], name: `none of these; the nearest is ${best[0].name}` } : best[0];
}

async function look(file, picture, width, height) {
  const pixels = seen(picture, width, height);
  const best = show(file, pixels, await classify(pixels));
  say(`${file}: ${best.name}, ${percent(best.prob)}`);
}

let queue = Promise.resolve(); // photos are looked at one after the other

function take(files) {
  for (const file of files) {
    queue = queue.then(async () => {
      say(`Looking at ${file.name} …`);
      try {
        const picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
        await look(file.name, picture, picture.width, picture.height);
        picture.close();
      } catch (error) {
        console.warn(error);
        say(`${file.name} is no picture that this browser can read.`, true);
      }
    });
  }
}

// --- the camera ----------------------------------------------------------------------------------------------

const REFUSALS = {
  NotAllowedError: "The camera was not allowed. Allow it in the settings of the browser, or choose a photo.",
  NotFoundError: "There is no camera here: choose a photo.",
  NotReadableError: "Another program uses the camera: close that, or choose a photo.",
};

async function openCamera() {
  if (!navigator.mediaDevices) return say("The camera needs a page from https or from localhost: choose a photo.", true);
  try {
    const video = byId("video");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    byId("view").hidden = false;
    await video.play();
    say("");
    byId("shoot").focus();
  } catch (error) {
    closeCamera();
    say(REFUSALS[error.name] ?? `The camera cannot be used (${error.name}): choose a photo.`, true);
  }
}

function closeCamera() {
  for (const track of byId("video").srcObject?.getTracks() ?? []) track.stop();
  byId("video").srcObject = null;
  byId("view").hidden = true;
}

// --- start ---------------------------------------------------------------------------------------------------

function listen() {
  const files = byId("files");
  const video = byId("video");
  byId("pick").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    take([...files.files]);
    files.value = ""; // so that the same one can be chosen again
  });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("ask").classList.add("over");
  });
  addEventListener("dragleave", () => byId("ask").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    byId("ask").classList.remove("over");
    take(event.dataTransfer.files);
  });
  byId("camera").addEventListener("click", openCamera);
  byId("shoot").addEventListener("click", () => look("camera", video, video.videoWidth, video.videoHeight));
  byId("close").addEventListener("click", closeCamera);
  for (const id of ["pick", "camera"]) byId(id).disabled = false;
}

load().then(
  () => {
    listen();
    say("Ready.");
  },
  (error) => {
    console.warn(error);
    say(`The network cannot be loaded: ${error.message}`, true);
  },
);
