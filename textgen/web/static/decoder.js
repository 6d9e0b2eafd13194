// The trained network as a state machine: it reads symbols and predicts the next one.
// The formulas are those of `textgen/inference/generic.py`, computed in float64.

const GATES = { LSTM: 4, GRU: 3, SimpleRNN: 1 };

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const ACTIVATIONS = {
  hard_sigmoid: (x) => Math.max(0, Math.min(1, 0.2 * x + 0.5)),
  hard_sigmoid_3: (x) => Math.max(0, Math.min(6, x + 3)) / 6,
  relu: (x) => Math.max(0, x),
  sigmoid,
  tanh: Math.tanh,
};

// Takes arrays from base64, one after the other. Matrices have a scale for each row and
// a byte for each number, and are filled up to whole words of 4 bytes.
class Weights {
  constructor(base64) {
    const binary = atob(base64);
    this.bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) this.bytes[i] = binary.charCodeAt(i);
    this.at = 0;
  }

  vector(length) {
    const values = new Float32Array(this.bytes.buffer, this.at, length);
    this.at += 4 * length;
    return values;
  }

  // Returns the rows of a matrix in one array.
  matrix(rows, columns) {
    const scales = this.vector(rows);
    const steps = new Int8Array(this.bytes.buffer, this.at, rows * columns);
    this.at += 4 * Math.ceil(steps.length / 4);
    const values = new Float32Array(steps.length);
    for (let row = 0, k = 0; row < rows; row++) {
      for (const end = k + columns; k < end; k++) values[k] = steps[k] * scales[row];
    }
    return values;
  }
}

// Adds to each of some sums a row of a matrix times x. Four rows at once need x once,
// and their additions don't wait for each other: twice as fast as row by row.
function addProduct(sums, matrix, x, first = 0, last = sums.length) {
  const columns = x.length;
  const rowAt = (row) => matrix.subarray(row * columns, (row + 1) * columns);
  let row = first;
  for (; row + 3 < last; row += 4) {
    const [one, two, three, four] = [rowAt(row), rowAt(row + 1), rowAt(row + 2), rowAt(row + 3)];
    let a = 0, b = 0, c = 0, d = 0;
    for (let k = 0; k < columns; k++) {
      const factor = x[k];
      a += one[k] * factor;
      b += two[k] * factor;
      c += three[k] * factor;
      d += four[k] * factor;
    }
    sums[row] += a;
    sums[row + 1] += b;
    sums[row + 2] += c;
    sums[row + 3] += d;
  }
  for (; row < last; row++) {
    const own = rowAt(row);
    for (let k = 0; k < columns; k++) sums[row] += own[k] * x[k];
  }
}

// One recurrent layer. Without a kernel it receives its gates' sums as they are.
class Layer {
  constructor(weights, { kind, units, activation, gate, resetsAfter }, inputs) {
    const size = units * GATES[kind];
    this.kernel = inputs ? weights.matrix(size, inputs) : null;
    this.recurrentKernel = weights.matrix(size, units);
    this.bias = weights.vector(size);
    this.recurrentBias = resetsAfter ? weights.vector(size) : new Float32Array(size);
    Object.assign(this, { kind, units, resetsAfter });
    this.activate = ACTIVATIONS[activation];
    this.gate = ACTIVATIONS[gate];
    this.output = new Float64Array(units);
    this.cell = new Float64Array(units);
    this.sums = new Float64Array(size);
    this.own = new Float64Array(size); // what comes of its own output a step before
    this.scratch = new Float64Array(units);
  }

  reset() {
    this.output.fill(0);
    this.cell.fill(0);
  }

  read(x) {
    this.sums.set(this.bias);
    if (this.kernel) addProduct(this.sums, this.kernel, x);
    else for (let k = 0; k < this.sums.length; k++) this.sums[k] += x[k];
    this[this.kind]();
  }

  // c = f·c + i·g, h = o·act(c); gates in the order i, f, g, o.
  LSTM() {
    const { units, sums, cell, output, activate, gate } = this;
    addProduct(sums, this.recurrentKernel, output);
    for (let k = 0; k < units; k++) {
      cell[k] = gate(sums[units + k]) * cell[k] + gate(sums[k]) * activate(sums[2 * units + k]);
      output[k] = gate(sums[3 * units + k]) * activate(cell[k]);
    }
  }

  // h = z·h + (1 - z)·candidate; gates in the order z, r, candidate.
  GRU() {
    const { units, sums, own, output, activate, gate, scratch } = this;
    own.set(this.recurrentBias);
    addProduct(own, this.recurrentKernel, output, 0, 2 * units);
    for (let k = 0; k < 2 * units; k++) sums[k] = gate(sums[k] + own[k]);
    const reset = (k) => sums[units + k];
    for (let k = 0; k < units; k++) scratch[k] = this.resetsAfter ? output[k] : reset(k) * output[k];
    addProduct(own, this.recurrentKernel, scratch, 2 * units);
    for (let k = 0; k < units; k++) {
      const received = this.resetsAfter ? reset(k) * own[2 * units + k] : own[2 * units + k];
      const candidate = activate(sums[2 * units + k] + received);
      output[k] = sums[k] * output[k] + (1 - sums[k]) * candidate;
    }
  }

  // h = act(sums)
  SimpleRNN() {
    const { units, sums, output, activate } = this;
    addProduct(sums, this.recurrentKernel, output);
    for (let k = 0; k < units; k++) output[k] = activate(sums[k]);
  }
}

// Reads symbols by their ids. With a window of T symbols, each prediction is made from
// exactly the last T, from zero state, as the network was trained.
class Decoder {
  constructor({ symbols, window, embedding, layers }, base64) {
    const size = symbols.length;
    const reader = new Weights(base64);
    // One-hot input has a row of the first layer's kernel in place of an embedding.
    this.columns = embedding || layers[0].units * GATES[layers[0].kind];
    this.table = reader.matrix(size, this.columns);
    let below = embedding;
    this.layers = layers.map((each) => {
      const layer = new Layer(reader, each, below);
      below = layer.units;
      return layer;
    });
    this.kernel = reader.matrix(size, below);
    this.bias = reader.vector(size);
    this.sums = new Float64Array(size);
    this.window = window;
    this.recent = [];
  }

  reset() {
    for (const layer of this.layers) layer.reset();
    this.recent = [];
  }

  push(id) {
    if (!this.window) return this.step(id);
    this.recent.push(id);
    if (this.recent.length > this.window) this.recent.shift();
  }

  step(id) {
    let x = this.table.subarray(id * this.columns, (id + 1) * this.columns);
    for (const layer of this.layers) {
      layer.read(x);
      x = layer.output;
    }
  }

  // Returns the logits of what comes next; the next call overwrites them.
  logits() {
    if (this.window) {
      for (const layer of this.layers) layer.reset();
      this.recent.forEach((id) => this.step(id));
    }
    this.sums.set(this.bias);
    addProduct(this.sums, this.kernel, this.layers.at(-1).output);
    return this.sums;
  }
}
