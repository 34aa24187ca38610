// The drawing pad. value: the drawing as a PNG data address, '' when empty. Event: 'drawn', 'wiped'.
const canvas = element.querySelector('canvas');
const paper = element.querySelector('.mw-paper');
const context = canvas.getContext('2d');
const SIZE = canvas.width;
let strokes = [];
let stroke = null;
let chalk = false;

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

function redraw() {
  context.fillStyle = chalk ? '#23282b' : '#ffffff';
  context.fillRect(0, 0, SIZE, SIZE);
  strokes.forEach(draw);
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
