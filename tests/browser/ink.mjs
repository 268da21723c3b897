// node ink.mjs INK_JS < drawings: what the page makes of each of them, as JSON.
const { centerInk, normalized } = await import(process.argv[2]);
let text = "";
for await (const chunk of process.stdin) text += chunk;
const made = JSON.parse(text).map(({ grey, height, width, size, margin, scale, shift }) => {
  const ink = centerInk(Uint8Array.from(Buffer.from(grey, "base64")), height, width, size, margin);
  return ink && Array.from(normalized(ink, scale, shift));
});
process.stdout.write(JSON.stringify(made));
