// What a drawing becomes before the net sees it: weft.recipes.common.center_ink, to 1/255 of a shade: Pillow rounds between
// rows and columns, and which of them it takes first depends on the picture and on its version.
// All numbers that are float32 there are rounded to it here.

const f32 = Math.fround;

function median(counts, total) {
  const at = (rank) => {
    let seen = 0;
    for (let value = 0; ; value++) if ((seen += counts[value]) > rank) return value;
  };
  return (at((total - 1) >> 1) + at(total >> 1)) / 2;
}

function count(values) {
  const counts = new Uint32Array(256);
  for (const value of values) counts[value]++;
  return counts;
}

function* border(grey, width, height) {
  for (let x = 0; x < width; x++) yield grey[x], yield grey[(height - 1) * width + x];
  for (let y = 0; y < height; y++) yield grey[y * width], yield grey[y * width + width - 1];
}

const roundHalfEven = (x) => {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + (low % 2) : Math.round(x);
};

// Pillow's box filter along one axis: `lines` lines of `size` bytes become lines of `target`. Its sums are whole numbers,
// with weights of 22 bits behind the point.
function shrink(bytes, lines, size, lineStep, step, target) {
  const out = new Uint8Array(lines * target);
  const scale = size / target, filter = Math.max(scale, 1), half = 0.5 * filter, narrowed = 1 / filter;
  for (let i = 0; i < target; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - half + 0.5));
    const end = Math.min(size, Math.trunc(center + half + 0.5));
    const inside = [];
    for (let k = first; k < end; k++) {
      const at = (k - center + 0.5) * narrowed;
      inside.push(at > -0.5 && at <= 0.5 ? 1 : 0);
    }
    const total = inside.reduce((a, b) => a + b, 0);
    const weights = inside.map((one) => Math.trunc(0.5 + (one / total) * 4194304));
    for (let line = 0; line < lines; line++) {
      let sum = 2097152;
      for (let k = first; k < end; k++) sum += bytes[line * lineStep + k * step] * weights[k - first];
      out[line * target + i] = Math.min(255, Math.floor(sum / 4194304));
    }
  }
  return out;
}

// (bytes, height, width) -> (toHeight, toWidth)
function resize(bytes, height, width, toHeight, toWidth) {
  if (toWidth !== width) bytes = shrink(bytes, height, width, width, 1, toWidth);
  if (toHeight === height) return bytes;
  const columns = shrink(bytes, toWidth, height, 1, toWidth, toHeight); // one line per column
  const out = new Uint8Array(toHeight * toWidth);
  for (let x = 0; x < toWidth; x++) for (let y = 0; y < toHeight; y++) out[y * toWidth + x] = columns[x * toHeight + y];
  return out;
}

// grey: bytes of height rows and width columns. Returns Float32Array(size * size), ink bright, 0 to 1, or null where all
// is of one shade.
export function centerInk(grey, height, width, size, margin) {
  const frame = [...border(grey, width, height)];
  if (median(count(frame), frame.length) > 127) grey = grey.map((value) => 255 - value);
  const counts = count(grey);
  const low = median(counts, grey.length);
  let high = 255;
  while (high > 0 && !counts[high]) high--;
  if (high - low < 16) return null;

  const shade = new Float32Array(256); // of each of the 256 values
  for (let value = 0; value < 256; value++) shade[value] = Math.min(1, Math.max(0, f32((value - low) / (high - low))));
  let top = height, bottom = -1, left = width, right = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (shade[grey[y * width + x]] > 0.25) {
        top = Math.min(top, y), bottom = Math.max(bottom, y), left = Math.min(left, x), right = Math.max(right, x);
      }
    }
  }
  const rows = bottom - top + 1, columns = right - left + 1;
  const ink = new Uint8Array(rows * columns);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) ink[y * columns + x] = f32(255 * shade[grey[(top + y) * width + left + x]]);
  }

  const scale = (size - 2 * margin) / Math.max(rows, columns);
  const [toRows, toColumns] = [rows, columns].map((length) => Math.max(1, roundHalfEven(length * scale)));
  const small = resize(ink, rows, columns, toRows, toColumns);
  const out = new Float32Array(size * size);
  const y0 = (size - toRows) >> 1, x0 = (size - toColumns) >> 1;
  for (let y = 0; y < toRows; y++) {
    for (let x = 0; x < toColumns; x++) out[(y0 + y) * size + x0 + x] = small[y * toColumns + x] / 255;
  }
  return out;
}

// (x - mean) / std in Weft's order of rounding: x * scale - shift.
export function normalized(pixels, scale, shift) {
  return pixels.map((x) => f32(x * scale) - shift);
}

export function softmax(scores) {
  const most = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - most));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}
