// The square over an uploaded picture. Props: src, width, height (pixels of the real picture);
// value: [left, top, right, bottom] in those pixels; guesses: such squares that the model would choose.
// Events: 'moved', 'suggest', 'whole', 'other'.
const frame = element.querySelector('.mw-frame');
const image = frame.querySelector('img');
const square = frame.querySelector('.mw-square');
const hole = frame.querySelector('.mw-shade i');
const LEAST = 8; // pixels of the real picture
let box = null; // {left, top, side}, being moved; what was sent last is props.value
let drag = null;

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
const scale = () => image.clientWidth / props.width;
const part = (value, of) => `${(100 * value) / of}%`;

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
  [square, hole].forEach(({ style }) => {
    style.left = part(box.left, props.width);
    style.top = part(box.top, props.height);
    style.width = part(box.side, props.width);
  });
  square.classList.toggle('mw-small', box.side * scale() < 110);
  // A square as high as the picture cannot be moved up or down: such a swipe scrolls.
  square.classList.toggle('mw-high', box.side >= props.height - 1);
  tell();
}

// Where the square is, for those who do not see it.
function tell() {
  const per = (value, of) => Math.round((100 * value) / of);
  square.setAttribute('aria-valuenow', per(box.left, Math.max(1, props.width - box.side)));
  square.setAttribute('aria-valuetext', `${per(box.left, props.width)} % from the left, `
    + `${per(box.top, props.height)} % from the top, ${Math.round(box.side)} pixels wide, `
    + `in a picture of ${props.width} by ${props.height}`);
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
  offer();
}

// The other squares that the model found, such as the digits of a number: a click goes there.
function offer() {
  frame.querySelectorAll('.mw-offer').forEach((old) => old.remove());
  const guesses = (props.guesses || []).map((guess, number) => [...guess, number]);
  // Small ones over large ones, so that each can be clicked.
  guesses.sort((one, other) => (other[2] - other[0]) - (one[2] - one[0]));
  guesses.forEach(([left, top, right, , number], _, all) => {
    const next = { left, top, side: right - left };
    const away = Math.max(
      Math.abs(left - box.left), Math.abs(top - box.top), Math.abs(next.side - box.side));
    if (all.length < 2 || away < next.side / 4) return; // here already
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'mw-offer';
    button.setAttribute('aria-label', `Classify this part: ${number + 1} of ${all.length} found`);
    button.style.cssText = `left:${part(left, props.width)};top:${part(top, props.height)};`
      + `width:${part(next.side, props.width)}`;
    button.addEventListener('click', () => { box = next; send(); offer(); });
    frame.append(button);
  });
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
  const size = sees.naturalWidth || 32; // the model's own, as long as its picture is there
  canvas.width = canvas.height = size;
  const ratio = image.naturalWidth / props.width;
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(
    image, box.left * ratio, box.top * ratio, box.side * ratio, box.side * ratio, 0, 0, size, size);
  sees.src = canvas.toDataURL();
}

function at(event) {
  const area = image.getBoundingClientRect();
  return { x: (event.clientX - area.left) / scale(), y: (event.clientY - area.top) / scale() };
}

// A finger that comes down beside the square scrolls the page, unless it only taps. Two fingers
// anywhere on the picture resize the square. The mouse takes the square along from where it clicks.
const fingers = new Map(); // of the touches on the picture: where each one is
let tap = null;
let pinch = null;

function centre(point) {
  box = fit({ ...box, left: point.x - box.side / 2, top: point.y - box.side / 2 });
}

function spread() {
  const [one, two] = [...fingers.values()];
  return Math.max(1, Math.hypot(one.x - two.x, one.y - two.y));
}

function grab(event, corner) {
  drag = { corner, point: at(event), start: { ...box } };
  square.setPointerCapture(event.pointerId);
  square.focus({ preventScroll: true });
  event.preventDefault();
}

frame.addEventListener('pointerdown', (event) => {
  if (event.button > 0 || !box || event.target.closest('.mw-offer')) return;
  const isTouch = event.pointerType === 'touch';
  if (isTouch) fingers.set(event.pointerId, at(event));
  if (fingers.size === 2) {
    const start = drag ? drag.start : { ...box };
    pinch = { start, spread: spread() };
    drag = tap = null;
    return;
  }
  if (fingers.size > 2) return;
  const { corner } = event.target.dataset;
  if (!corner && !square.contains(event.target)) {
    if (isTouch) {
      tap = { x: event.clientX, y: event.clientY };
      return;
    }
    centre(at(event));
  }
  grab(event, corner);
  place();
});

// Else the browser would take two fingers for zooming or scrolling.
frame.addEventListener('touchstart', (event) => {
  if (event.touches.length > 1) event.preventDefault();
}, { passive: false });

frame.addEventListener('pointermove', (event) => {
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at(event));
  if (pinch && fingers.size === 2) {
    const { start } = pinch;
    const side = (start.side * spread()) / pinch.spread;
    const by = (side - start.side) / 2;
    box = fit({ side, left: start.left - by, top: start.top - by });
    place();
    preview();
  }
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
frame.addEventListener('pointerup', (event) => {
  fingers.delete(event.pointerId);
  if (tap && Math.hypot(event.clientX - tap.x, event.clientY - tap.y) < 10) {
    centre(at(event));
    preview();
    send();
  } else if ((drag && !pinch) || (pinch && !fingers.size)) {
    send();
  }
  tap = drag = null;
  if (!fingers.size) pinch = null;
});
frame.addEventListener('pointercancel', (event) => { // the browser scrolls: nothing was meant
  fingers.delete(event.pointerId);
  if (drag || pinch) {
    box = { ...(drag || pinch).start };
    place();
    preview();
  }
  tap = drag = pinch = null;
});

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
