// node evaluate.js LIBRARY < cases: runs layers models on inputs, and prints what they make of them as JSON.
// A case is {model, weights: base64, specs, input: {data: base64, shape, dtype}}, the model a topology.
const tf = require(process.argv[2]);

function bytes(text) {
  const buffer = Buffer.from(text, "base64");
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
}

async function evaluate({ topology, specs, weights, input }) {
  const handler = tf.io.fromMemory({ modelTopology: topology, weightSpecs: specs, weightData: bytes(weights) });
  const model = await tf.loadLayersModel(handler);
  const data = input.dtype === "int32" ? new Int32Array(bytes(input.data)) : new Float32Array(bytes(input.data));
  const output = model.predict(tf.tensor(data, input.shape, input.dtype));
  let saved;
  await model.save(tf.io.withSaveHandler(async (artifacts) => {
    saved = { weightSpecs: artifacts.weightSpecs, weightData: Buffer.from(artifacts.weightData).toString("base64") };
    return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: "JSON" } };
  }));
  return { shape: output.shape, data: Array.from(await output.data()), saved };
}

(async () => {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  await tf.setBackend("cpu");
  const made = [];
  for (const one of JSON.parse(text)) {
    try {
      made.push(await evaluate(one));
    } catch (error) {
      made.push({ error: String(error && error.message || error) });
    }
  }
  process.stdout.write(JSON.stringify(made));
})();
