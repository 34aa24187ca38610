// The drawing pad. value: the drawing as a PNG data address, '' when empty. Event: 'drawn', 'wiped'.
const canvas = element.querySelector('canvas');
const paper = element.querySelector('.mw-paper');
const context = canvas.getContext('2d');
const SIZE = canvas.width;
let strokes = [];
let stroke = null;
let chalk = false;
let pen = null; // where the keyboard's pen is
let down = false;
const status = element.querySelector('[role=status]');
const STEP = SIZE / 16;

function draw(points) {
  context.lineWidth = SIZE * 0.07;
  context.lineCap = context.lineJoin = 'round';
  context.strokeStyle = context.fillStyle = chalk ? '#f4f4f0' : '#16181d';
  context.beginPath();
  context.moveTo(...points[0]);
  if (points.length === 1) context.lineTo(points[0][0] + 0.1, points[0][1]);
  for (let i = 1; i < points.length; i += 1) {
    const [x, y] = points[i];
    const [lastX, lastY] = points[i - 1];
    context.quadraticCurveTo(lastX, lastY, (x + lastX) / 2, (y + lastY) / 2);
  }
  context.lineTo(...points[points.length - 1]);
  context.stroke();
}

// A typed character, or the pen of the keyboard as a ring that is not sent.
function write(character) {
  context.fillStyle = chalk ? '#f4f4f0' : '#16181d';
  context.font = `bold ${SIZE * 0.8}px sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(character, SIZE / 2, SIZE * 0.53);
}

function showPen() {
  if (!pen || document.activeElement !== canvas) return;
  context.lineWidth = 4;
  context.strokeStyle = '#c2410c';
  context.beginPath();
  context.arc(...pen, SIZE * (down ? 0.03 : 0.05), 0, 2 * Math.PI);
  context.stroke();
}

function redraw() {
  context.fillStyle = chalk ? '#23282b' : '#ffffff';
  context.fillRect(0, 0, SIZE, SIZE);
  strokes.forEach((one) => (one.character ? write(one.character) : draw(one)));
  if (stroke) draw(stroke);
  paper.classList.toggle('mw-used', strokes.length > 0 || Boolean(stroke));
}

function send() {
  if (!strokes.length) {
    props.value = '';
    trigger('wiped');
    return;
  }
  // A quarter of the pixels tell the same and travel faster.
  const small = document.createElement('canvas');
  small.width = small.height = SIZE / 2;
  small.getContext('2d').drawImage(canvas, 0, 0, SIZE / 2, SIZE / 2);
  props.value = small.toDataURL('image/png');
  trigger('drawn');
  showPen();
}

function at(event) {
  const area = canvas.getBoundingClientRect();
  return [
    ((event.clientX - area.left) * SIZE) / area.width,
    ((event.clientY - area.top) * SIZE) / area.height,
  ];
}

canvas.addEventListener('pointerdown', (event) => {
  if (event.button > 0 || stroke) return;
  canvas.setPointerCapture(event.pointerId);
  stroke = [at(event)];
  redraw();
  event.preventDefault();
});
canvas.addEventListener('pointermove', (event) => {
  if (!stroke) return;
  const steps = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  (steps.length ? steps : [event]).forEach((step) => stroke.push(at(step)));
  redraw();
});
const lift = () => {
  if (!stroke) return;
  strokes.push(stroke);
  stroke = null;
  redraw();
  send();
};
canvas.addEventListener('pointerup', lift);
canvas.addEventListener('pointercancel', lift);

const say = (words) => { status.textContent = words; };
const place = () => `${Math.round((100 * pen[0]) / SIZE)} % from the left, `
  + `${Math.round((100 * pen[1]) / SIZE)} % from the top`;
const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const way = ways[event.key];
  if (way) {
    const reach = event.shiftKey ? STEP / 4 : STEP;
    pen = (pen || [SIZE / 2, SIZE / 2])
      .map((value, axis) => Math.min(SIZE, Math.max(0, value + way[axis] * reach)));
    if (down) stroke.push(pen);
    redraw();
    showPen();
    say(place());
  } else if (event.key === ' ') {
    pen ||= [SIZE / 2, SIZE / 2];
    down = !down;
    if (down) stroke = [pen];
    else lift();
    redraw();
    showPen();
    say(down ? 'Pen down' : 'Pen lifted');
  } else if (event.key === 'Backspace') {
    if (down) { down = false; stroke = null; } else strokes.pop();
    redraw();
    send();
    say('Undone');
  } else if (event.key.length === 1) {
    strokes = [{ character: event.key }];
    stroke = null;
    down = false;
    redraw();
    send();
    say(`${event.key} written`);
  } else {
    return;
  }
  event.preventDefault();
});
canvas.addEventListener('blur', () => {
  if (down) { down = false; lift(); }
  redraw();
});

const actions = {
  undo: () => strokes.pop(),
  clear: () => { strokes = []; },
  invert: (button) => {
    chalk = !chalk;
    button.setAttribute('aria-pressed', String(chalk));
  },
};
element.querySelectorAll('button').forEach((button) => {
  button.addEventListener('click', () => {
    const empty = !strokes.length;
    actions[button.dataset.do](button);
    redraw();
    if (!empty) send();
  });
});
watch('value', () => { // a photo has taken the drawing's place
  if (props.value || !strokes.length) return;
  strokes = [];
  redraw();
});
redraw();
