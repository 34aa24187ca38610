// The square over an uploaded picture. Props: src, width, height (pixels of the real picture);
// value: [left, top, right, bottom] in those pixels. Events: 'moved', 'suggest', 'whole', 'other'.
const frame = element.querySelector('.mw-frame');
const image = frame.querySelector('img');
const square = frame.querySelector('.mw-square');
const hole = frame.querySelector('.mw-shade i');
const LEAST = 8; // pixels of the real picture
let box = null; // {left, top, side}, being moved; what was sent last is props.value
let drag = null;

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
const scale = () => image.clientWidth / props.width;

function fit(next) {
  const most = Math.min(props.width, props.height);
  const side = clamp(next.side, Math.min(LEAST, most), most);
  return {
    side,
    left: clamp(next.left, 0, props.width - side),
    top: clamp(next.top, 0, props.height - side),
  };
}

function place() {
  if (!box || !props.src) return;
  const part = (value, of) => `${(100 * value) / of}%`;
  [square, hole].forEach(({ style }) => {
    style.left = part(box.left, props.width);
    style.top = part(box.top, props.height);
    style.width = part(box.side, props.width);
  });
  square.classList.toggle('mw-small', box.side * scale() < 110);
}

function show() {
  if (props.src && image.getAttribute('src') !== props.src) image.src = props.src;
  // A picture that is hardly larger than the model's input is shown with hard pixels, too.
  image.classList.toggle('mw-pixels', Math.max(props.width, props.height) < 160);
  if (props.src) frame.style.setProperty('--shape', `${props.width} / ${props.height}`);
  if (props.src) frame.style.setProperty('--ratio', props.width / props.height);
  const [left, top, right, bottom] = props.value || [0, 0, 0, 0];
  box = { left, top, side: Math.min(right - left, bottom - top) };
  place();
}

function send() {
  box = fit({ left: Math.round(box.left), top: Math.round(box.top), side: Math.round(box.side) });
  place();
  const next = [box.left, box.top, box.left + box.side, box.top + box.side];
  if (JSON.stringify(next) === JSON.stringify(props.value)) return;
  props.value = next;
  trigger('moved');
}

// What the model sees, drawn here while the square moves; the server's own replaces it.
function preview() {
  const sees = document.querySelector('.mw-sees img');
  if (!sees || !image.naturalWidth) return;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 32;
  const ratio = image.naturalWidth / props.width;
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(
    image, box.left * ratio, box.top * ratio, box.side * ratio, box.side * ratio, 0, 0, 32, 32);
  sees.src = canvas.toDataURL();
}

function at(event) {
  const area = image.getBoundingClientRect();
  return { x: (event.clientX - area.left) / scale(), y: (event.clientY - area.top) / scale() };
}

frame.addEventListener('pointerdown', (event) => {
  if (event.button > 0 || !box) return;
  const corner = event.target.dataset.corner;
  const point = at(event);
  if (!corner && !square.contains(event.target)) {
    box = fit({ ...box, left: point.x - box.side / 2, top: point.y - box.side / 2 });
  }
  drag = { corner, point, start: { ...box } };
  square.setPointerCapture(event.pointerId);
  square.focus({ preventScroll: true });
  event.preventDefault();
  place();
});

frame.addEventListener('pointermove', (event) => {
  if (!drag) return;
  const { corner, point, start } = drag;
  const x = at(event).x - point.x;
  const y = at(event).y - point.y;
  if (!corner) {
    box = fit({ ...start, left: start.left + x, top: start.top + y });
  } else {
    // The opposite corner stays where it is.
    const west = corner.includes('w');
    const north = corner.includes('n');
    const room = Math.min(
      west ? start.left + start.side : props.width - start.left,
      north ? start.top + start.side : props.height - start.top,
    );
    const grown = start.side + ((west ? -x : x) + (north ? -y : y)) / 2;
    const side = clamp(grown, Math.min(LEAST, room), room);
    box = {
      side,
      left: west ? start.left + start.side - side : start.left,
      top: north ? start.top + start.side - side : start.top,
    };
  }
  place();
  preview();
});

let settle = null;
const release = () => {
  if (!drag) return;
  drag = null;
  send();
};
frame.addEventListener('pointerup', release);
frame.addEventListener('pointercancel', release);

square.addEventListener('keydown', (event) => {
  const step = Math.max(1, box.side * (event.shiftKey ? 0.25 : 0.05));
  const grow = (by) => ({ side: box.side + by, left: box.left - by / 2, top: box.top - by / 2 });
  const moves = {
    ArrowLeft: () => ({ ...box, left: box.left - step }),
    ArrowRight: () => ({ ...box, left: box.left + step }),
    ArrowUp: () => ({ ...box, top: box.top - step }),
    ArrowDown: () => ({ ...box, top: box.top + step }),
    '+': () => grow(2 * step),
    '=': () => grow(2 * step),
    '-': () => grow(-2 * step),
  };
  if (!moves[event.key]) return;
  event.preventDefault();
  box = fit(moves[event.key]());
  place();
  preview();
  clearTimeout(settle);
  settle = setTimeout(send, 350);
});

element.querySelectorAll('button').forEach((button) => {
  button.addEventListener('click', () => {
    clearTimeout(settle);
    trigger(button.dataset.event);
  });
});
watch(['value', 'src'], () => {
  clearTimeout(settle); // what was about to be sent belongs to the picture of before
  show();
});
new ResizeObserver(place).observe(frame);
show();
