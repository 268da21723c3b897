// The exported layers model, run and taught by TensorFlow.js.

function script(path) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.src = path;
    element.onload = resolve;
    element.onerror = () => reject(new Error(`${path} did not load`));
    document.head.append(element);
  });
}

async function library() {
  await script("/lib/tf.es2017.min.js");
  await script("/lib/tf-backend-wasm.es2017.min.js");
  window.tf.wasm.setWasmPaths("/lib/");
  return window.tf;
}

// The backends that there are: the graphics card only where it computes in whole float32, plain JavaScript last.
async function* backends(tf) {
  const has = (name) => tf.setBackend(name).catch(() => false);
  if ((await has("webgl")) && tf.env().getBool("WEBGL_RENDER_FLOAT32_CAPABLE")) yield "webgl";
  if (await has("wasm")) yield "wasm";
  else yield "cpu";
}

// agrees: what checks a backend's answers against Python's. The fastest one that agrees is taken.
export async function start({ size, classes }, agrees) {
  const tf = await library();
  tf.enableProdMode();
  let best = null;
  for await (const backend of backends(tf)) {
    await tf.setBackend(backend);
    const model = await tf.loadLayersModel("/model/model.json");
    const engine = { backend, scores: (pixels, count) => predict(tf, model, pixels, count, size) };
    engine.teacher = teacher(tf, model, size, classes.length);
    if (!(await agrees(engine))) continue;
    const blank = new Float32Array(size * size), times = [];
    for (let i = 0; i < 6; i++) {
      const begun = performance.now();
      await engine.scores(blank, 1);
      times.push(performance.now() - begun);
    }
    engine.time = times.sort((a, b) => a - b)[2];
    if (!best || engine.time < best.time) best = engine;
  }
  if (!best) throw new Error("no backend of TensorFlow.js computes what Python does");
  await tf.setBackend(best.backend);
  return best;
}

// count inputs, one after another in `pixels` -> Float32Array(count * classes).
async function predict(tf, model, pixels, count, size) {
  const scores = tf.tidy(() => model.predict(tf.tensor(pixels, [count, size, size, 1])));
  const values = await scores.data();
  scores.dispose();
  return values;
}

// Teaching trains the last layer, if it is a plain Dense one, on what the layers before it make of the digits.
function teacher(tf, model, size, classes) {
  const last = model.layers[model.layers.length - 1];
  if (last.getClassName() !== "Dense" || last.getConfig().activation !== "linear") return null;
  const before = tf.model({ inputs: model.inputs, outputs: last.input });
  const first = last.getWeights().map((weight) => weight.clone());
  const features = (pixels, count) => tf.tidy(() => before.predict(tf.tensor(pixels, [count, size, size, 1])));

  // known, taught: {pixels, labels}. Both count the same, however many there are; progress(step, loss) is told.
  async function teach(known, taught, steps, progress) {
    const parts = [known, taught].filter((part) => part.labels.length).map((part) => ({
      x: features(part.pixels, part.labels.length),
      y: tf.tidy(() => tf.oneHot(tf.tensor1d(part.labels, "int32"), classes).toFloat()),
    }));
    // Gradients are complete in plain JavaScript alone, and one layer is little work.
    const backend = tf.getBackend();
    await tf.setBackend("cpu");
    const [kernel, bias] = last.getWeights();
    const w = tf.variable(kernel), b = bias ? tf.variable(bias) : null;
    const adam = tf.train.adam(0.01);
    for (let step = 1; step <= steps; step++) {
      const loss = adam.minimize(() => tf.addN(parts.map(({ x, y }) => {
        const scores = x.matMul(w);
        return tf.losses.softmaxCrossEntropy(y, b ? scores.add(b) : scores);
      })), true, b ? [w, b] : [w]);
      progress(step, (await loss.data())[0]);
      loss.dispose();
      await tf.nextFrame();
    }
    await tf.setBackend(backend);
    last.setWeights(b ? [w, b] : [w]);
    for (const { x, y } of parts) tf.dispose([x, y]);
    tf.dispose(b ? [w, b] : [w]);
    adam.dispose();
  }

  // All weights of the model, as weft.tfjs.load reads them.
  async function weights() {
    let made;
    await model.save(tf.io.withSaveHandler(async ({ weightSpecs, weightData }) => {
      made = { weightSpecs, weightData };
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
    }));
    const blob = new Blob([made.weightData].flat());
    const address = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(blob);
    });
    return JSON.stringify({ weightSpecs: made.weightSpecs, weightData: address.slice(address.indexOf(",") + 1) });
  }

  return { teach, weights, forget: () => last.setWeights(first) };
}
