// The paper: white, with dark ink, as strokes that can be taken back, over a digit that was put there, if any.

const PEN = 0.075; // of the side

export class Paper {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.side = canvas.width;
    this.context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
    this.changed = changed;
    this.strokes = [];
    this.under = null; // {pixels, size}: the digit below the strokes
    this.pen = { x: this.side / 2, y: this.side / 2, down: false, shown: false }; // of the keyboard
    this.pointers = new Map();
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.lift());
    this.paint();
  }

  // The pixels of the digit that was put here, as long as nothing was drawn over it.
  get sample() {
    return this.under && !this.strokes.length ? this.under.pixels : null;
  }

  clear() {
    this.strokes = [];
    this.under = null;
    this.pen.down = false;
    this.paint();
  }

  undo() {
    if (this.strokes.length) this.strokes.pop();
    else this.under = null;
    this.pen.down = false;
    this.paint();
  }

  put(pixels, size) {
    this.strokes = [];
    this.under = { pixels, size };
    this.pen.down = false;
    this.paint();
  }

  // The shades, side rows of side, without the keyboard's pen.
  grey() {
    this.draw();
    const rgba = this.context.getImageData(0, 0, this.side, this.side).data;
    const grey = new Uint8Array(this.side ** 2);
    for (let i = 0; i < grey.length; i++) grey[i] = rgba[4 * i];
    this.drawPen();
    return grey;
  }

  at({ clientX, clientY }) {
    const box = this.canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * this.side, ((clientY - box.top) / box.height) * this.side];
  }

  press(event) {
    if (event.button > 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pen.shown = false;
    const stroke = [this.at(event)];
    this.pointers.set(event.pointerId, stroke);
    this.strokes.push(stroke);
    this.paint();
  }

  move(event) {
    const stroke = this.pointers.get(event.pointerId);
    if (!stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) stroke.push(this.at(one));
    this.paint();
  }

  key(event) {
    const step = this.side / (event.shiftKey ? 80 : 28), pen = this.pen;
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key] ?? [0, 0];
    if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) this.strokes.push([[pen.x, pen.y]]);
    } else if (dx || dy) {
      pen.x = Math.min(this.side, Math.max(0, pen.x + dx));
      pen.y = Math.min(this.side, Math.max(0, pen.y + dy));
      if (pen.down) this.strokes.at(-1).push([pen.x, pen.y]);
    } else return;
    pen.shown = true;
    event.preventDefault();
    event.stopPropagation();
    this.paint();
  }

  lift() {
    if (!this.pen.shown) return;
    this.pen.down = this.pen.shown = false;
    this.paint();
  }

  paint() {
    this.draw();
    this.drawPen();
    this.changed();
  }

  draw() {
    const { context, side } = this;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    if (this.under) this.drawUnder();
    context.strokeStyle = context.fillStyle = "#000";
    context.lineWidth = PEN * side;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke.length > 1 ? stroke.slice(1) : stroke) context.lineTo(...point);
      context.stroke();
    }
  }

  drawUnder() {
    const { pixels, size } = this.under, small = document.createElement("canvas");
    small.width = small.height = size;
    const inside = small.getContext("2d"), image = inside.createImageData(size, size);
    pixels.forEach((value, i) => {
      const shade = Math.round(255 * (1 - value));
      image.data.set([shade, shade, shade, 255], 4 * i);
    });
    inside.putImageData(image, 0, 0);
    this.context.imageSmoothingEnabled = true;
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(small, 0, 0, this.side, this.side);
  }

  drawPen() {
    if (!this.pen.shown) return;
    const { context, pen, side } = this;
    context.lineWidth = 3;
    context.strokeStyle = pen.down ? "#000" : "#999";
    context.beginPath();
    context.arc(pen.x, pen.y, (PEN * side) / 2 + 4, 0, 2 * Math.PI);
    context.stroke();
  }
}
