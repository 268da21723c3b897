// The page: paper, pen, bars, digits to try. What computes is in tfjs.js or onnx.js, what prepares the input in ink.js.
import { centerInk, normalized, softmax } from "/ink.js";
import { Paper } from "/paper.js";

const $ = (id) => document.getElementById(id);
const make = (tag, text = "") => Object.assign(document.createElement(tag), { textContent: text });
const fetched = async (path) => {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
};
const CLOSE = 1e-4; // what probabilities may differ by from Python's

let about, engine, tested, remembered;
const lessons = []; // {pixels, label} that were taught

function digitsOf({ images, labels, probabilities }) {
  const bytes = Uint8Array.from(atob(images), (letter) => letter.charCodeAt(0));
  const all = new Float32Array(bytes.buffer), area = about.size ** 2;
  return labels.map((label, i) => ({
    label, pixels: all.slice(i * area, (i + 1) * area), probabilities: probabilities[i],
  }));
}

const inputsOf = (digits) => {
  const area = about.size ** 2, all = new Float32Array(digits.length * area);
  digits.forEach(({ pixels }, i) => all.set(normalized(pixels, about.scale, about.shift), i * area));
  return all;
};

async function probabilitiesOf(digits, from = engine) {
  const scores = await from.scores(inputsOf(digits), digits.length), n = about.classes.length;
  return digits.map((_, i) => softmax(scores.subarray(i * n, (i + 1) * n)));
}

const best = (values) => values.indexOf(Math.max(...values));

// ---- does the browser compute what Python computed?

async function compare(digits, from) {
  const found = await probabilitiesOf(digits, from);
  const difference = Math.max(0, ...found.flatMap((row, i) => row.map((p, k) => Math.abs(p - digits[i].probabilities[k]))));
  const same = found.filter((row, i) => best(row) === best(digits[i].probabilities)).length;
  return { difference, same, right: found.filter((row, i) => best(row) === digits[i].label).length, count: digits.length };
}

const agrees = async (candidate) => {
  const few = tested.slice(0, 8);
  return !few.length || (await compare(few, candidate)).difference <= CLOSE;
};

async function check() {
  if (!tested.length) {
    $("check").textContent = "No data set here: neither digits to try nor a comparison with Python (weft data get).";
    return;
  }
  const { difference, same, right, count } = await compare(tested);
  const well = same === count && difference <= CLOSE;
  $("check").textContent = `Compared with Python on ${count} test digits: ${same} of ${count} the same class, probabilities `
    + `within ${difference.toExponential(1)}; ${right} of ${count} are right.`;
  $("check").classList.toggle("bad", !well);
}

// ---- what is on the paper, and what the net says

let shown = null; // the pixels of the input that is on show
let busy = false, waiting = false;

function see(pixels) {
  const canvas = $("seen"), context = canvas.getContext("2d");
  const image = context.createImageData(about.size, about.size);
  for (let i = 0; i < image.data.length / 4; i++) {
    const shade = Math.round(255 * Math.min(1, Math.max(0, pixels ? pixels[i] : 0)));
    image.data.set([shade, shade, shade, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function say(probabilities) {
  const top = probabilities ? best(probabilities) : -1;
  $("best").textContent = probabilities ? about.classes[top] : "–";
  $("best").classList.toggle("unsure", !probabilities || probabilities[top] < 0.5);
  [...$("bars").children].forEach((row, i) => {
    const share = probabilities ? probabilities[i] : 0;
    row.classList.toggle("top", i === top);
    row.querySelector(".fill").style.width = `${100 * share}%`;
    row.querySelector(".share").textContent = probabilities ? `${(100 * share).toFixed(1)} %` : "";
  });
}

// At most one prediction runs; what was drawn meanwhile is predicted after it.
async function update() {
  if (!engine) return;
  if (busy) {
    waiting = true;
    return;
  }
  busy = true;
  try {
    do {
      waiting = false;
      shown = paper.sample ?? centerInk(paper.grey(), paper.side, paper.side, about.size, about.margin);
      see(shown);
      if (!shown) say(null);
      else {
        const begun = performance.now();
        const [probabilities] = await probabilitiesOf([{ pixels: shown }]);
        $("speed").textContent = `${(performance.now() - begun).toFixed(1)} ms, computed in this page by ${about.library} `
          + `(${engine.backend})`;
        say(probabilities);
      }
      enableLessons();
    } while (waiting);
  } catch (error) {
    fail(error);
  } finally {
    busy = false; // a prediction that failed must not be the last one
  }
}

const paper = new Paper($("paper"), update);

// ---- digits to try

const turns = new Map(); // which digit of a class is next

function show(digit) {
  paper.put(digit.pixels, about.size);
}

function showNext(label) {
  const own = tested.filter((digit) => digit.label === label);
  if (!own.length) return;
  const turn = turns.get(label) ?? 0;
  turns.set(label, turn + 1);
  show(own[turn % own.length]);
}

function listSamples() {
  $("samples").closest("section").hidden = !tested.length;
  for (const digit of tested.slice(0, 20)) {
    const button = make("button"), canvas = make("canvas");
    button.type = "button";
    button.setAttribute("aria-label", `a test digit, ${about.classes[digit.label]}`);
    canvas.width = canvas.height = about.size;
    const context = canvas.getContext("2d"), image = context.createImageData(about.size, about.size);
    digit.pixels.forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
    context.putImageData(image, 0, 0);
    button.append(canvas);
    button.addEventListener("click", () => show(digit));
    $("samples").append(button);
  }
}

// ---- teaching

// One drawing, and it again a pixel to each side: a lesson should not hang on where it stood.
function shifted(pixels) {
  const n = about.size, made = [];
  for (const [dy, dx] of [[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]]) {
    const out = new Float32Array(n * n);
    for (let y = Math.max(0, dy); y < Math.min(n, n + dy); y++) {
      for (let x = Math.max(0, dx); x < Math.min(n, n + dx); x++) out[y * n + x] = pixels[(y - dy) * n + x - dx];
    }
    made.push(out);
  }
  return made;
}

let teaching = false;

function enableLessons() {
  for (const button of $("labels").children) button.disabled = teaching || !shown;
  $("forget").disabled = teaching || !lessons.length;
  $("send").disabled = $("save").disabled = teaching;
}

async function teach(label) {
  if (teaching || !shown) return;
  teaching = true;
  enableLessons();
  lessons.push({ pixels: shown, label });
  const all = lessons.flatMap((lesson) => shifted(lesson.pixels).map((pixels) => ({ pixels, label: lesson.label })));
  const part = (digits) => ({ pixels: inputsOf(digits), labels: digits.map((digit) => digit.label) });
  try {
    await engine.teacher.teach(part(remembered), part(all), 40, (step, loss) => {
      $("taught").textContent = `step ${step} of 40, loss ${loss.toFixed(3)}`;
    });
    const known = remembered.length ? await compare(remembered) : null;
    const learned = (await probabilitiesOf(lessons)).filter((row, i) => best(row) === lessons[i].label).length;
    $("taught").textContent = `It knows ${learned} of the ${lessons.length} taught`
      + (known ? `, and still ${known.right} of ${known.count} training digits.` : ".");
  } finally {
    teaching = false;
  }
  await update();
}

async function send() {
  const headers = { "Content-Type": "application/json", "X-Weft-Token": document.querySelector("meta[name=weft-token]").content };
  const reply = await fetch("/weights", { method: "POST", headers, body: await engine.teacher.weights() });
  const { kept, error } = await reply.json();
  $("taught").textContent = kept ? `Weft wrote ${kept}` : `Weft refused: ${error}`;
}

async function download() {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([await engine.teacher.weights()], { type: "application/json" }));
  link.download = `${about.name}-weights.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function offerTeaching() {
  $("teaching").hidden = !engine.teacher;
  if (!engine.teacher) return;
  $("known").textContent = remembered.length;
  about.classes.forEach((name, label) => {
    const button = make("button", name);
    button.type = "button";
    button.setAttribute("aria-label", `teach that this is ${name}`);
    button.addEventListener("click", () => teach(label).catch(fail));
    $("labels").append(button);
  });
  $("forget").addEventListener("click", () => {
    engine.teacher.forget();
    lessons.length = 0;
    $("taught").textContent = "The weights are those that came.";
    update();
  });
  $("send").addEventListener("click", () => send().catch(fail));
  $("save").addEventListener("click", () => download().catch(fail));
}

// ---- beginning

function fail(error) {
  $("check").textContent = String(error.message ?? error);
  $("check").classList.add("bad");
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !engine) return;
  const key = event.key.toLowerCase();
  if (key === "c" || key === "escape") paper.clear();
  else if (key === "u") paper.undo();
  else if (/^[0-9]$/.test(key) && Number(key) < about.classes.length) showNext(Number(key));
  else return;
  event.preventDefault();
}

async function begin() {
  about = await fetched("/about.json");
  [tested, remembered] = (await Promise.all([fetched("/tested.json"), fetched("/remembered.json")])).map(digitsOf);
  $("pixels").textContent = `${about.size} × ${about.size}`;
  $("seen").width = $("seen").height = about.size;
  for (const name of about.classes) {
    const row = make("li"), track = make("div"), fill = make("div"), share = make("span");
    track.className = "track", fill.className = "fill", share.className = "share";
    track.append(fill);
    row.append(make("span", name), track, share);
    $("bars").append(row);
  }
  const { start } = await import(`/${about.engine}.js`);
  engine = await start(about, agrees);
  $("model").textContent = `${about.name}: ${about.parameters.toLocaleString("en")} parameters`
    + (about.figure ? `, ${(100 * about.figure).toFixed(2)} % of its test images right` : "");
  listSamples();
  offerTeaching();
  $("clear").addEventListener("click", () => paper.clear());
  $("undo").addEventListener("click", () => paper.undo());
  document.addEventListener("keydown", keys);
  await check();
  await update();
  document.body.dataset.ready = "yes";
}

begin().catch(fail);

// For tests, and for a console: digits are {pixels}, of the shades 0 to 1 that the net sees.
window.weft = {
  predict: (digits) => probabilitiesOf(digits),
  digits: () => tested,
  weights: () => engine.teacher.weights(),
  paper() {
    const { x, y, width } = $("paper").getBoundingClientRect();
    return [x, y, width];
  },
};
