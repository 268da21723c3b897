// The exported ONNX model, run by onnxruntime-web in WebAssembly.

export async function start({ size }, agrees) {
  const ort = await import("/lib/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = "/lib/";
  ort.env.wasm.numThreads = 1; // one small image at a time: threads would wait for each other
  const session = await ort.InferenceSession.create("/model/model.onnx", { executionProviders: ["wasm"] });
  const engine = {
    backend: "wasm",
    teacher: null,
    async scores(pixels, count) {
      const made = await session.run({ x: new ort.Tensor("float32", pixels, [count, 1, size, size]) });
      return made.scores.data;
    },
  };
  if (!(await agrees(engine))) throw new Error("onnxruntime-web does not compute what Python does");
  return engine;
}
