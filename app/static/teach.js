// Classes of one's own. Pictures are made small here and sent as they come; which belong to which class is told
// when they are taught. value: JSON. Events: 'brought' {pictures: {number: data address}}, 'teach' {classes: {name:
// [numbers]}}, 'stay', 'forget'. missing: JSON of the numbers that were told and are not on the server.
// over: new when teaching has ended.
const SIDE = 224;
const [MOST_CLASSES, MOST_PICTURES, EACH_TIME, PAUSE] = [10, 400, 700_000, 200]; // of the third, letters
const LARGEST_KEPT = 70_000; // bytes of a picture
const READY = 'The pictures are there: press Teach, and a model learns from them.';
const LEARNING = 'It looks at the pictures and learns: this takes some seconds …';
const [ATTEMPTS, STAYS] = [5, 600_000]; // to teach with what did not arrive; milliseconds
const list = element.querySelector('.mw-classes');
const status = element.querySelector('.mw-said');
const video = element.querySelector('video');
const button = (name) => element.querySelector(`[data-do=${name}]`);
let classes = []; // {name, pictures: [{number, address}]}
let history = []; // what undoes the last steps
let unsent = {};
let next = 0;
let sending = null;
let attempts = 0;
let again = null; // the next attempt
let isKnown = false; // whether the server has anything
let isLearning = false;
let before = null; // the result that was there when it began to

const say = (words) => { status.textContent = words; };
const full = () => say(`There is room for ${MOST_PICTURES} pictures: take some away first.`);
const count = () => classes.reduce((sum, one) => sum + one.pictures.length, 0);

function send() {
  let size = 0;
  const some = Object.entries(unsent).filter(([, address]) => { size += address.length; return size < EACH_TIME; });
  if (!some.length) { sending = null; return; }
  isKnown = true;
  some.forEach(([number]) => delete unsent[number]);
  props.value = JSON.stringify({ pictures: Object.fromEntries(some) });
  trigger('brought');
  sending = setTimeout(send, PAUSE);
}

function put(one, address) {
  if (count() >= MOST_PICTURES) {
    full();
    return;
  }
  const picture = { number: next, address };
  next += 1;
  one.pictures.push(picture);
  history.push(() => { one.pictures = one.pictures.filter((other) => other !== picture); });
  unsent[picture.number] = address;
  sending ||= setTimeout(send, PAUSE);
}

// As the encoder takes it. What was saved by this page comes back as it was.
async function small(blob) {
  const image = await bitmap(blob);
  try {
    if (blob.type === 'image/jpeg' && image.width === SIDE && image.height === SIDE && blob.size < LARGEST_KEPT) {
      return await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
      });
    }
    return drawn(image, image.width, image.height, SIDE).toDataURL('image/jpeg', 0.9);
  } finally { image.close(); }
}

async function take(one, pictures) {
  let unread = 0;
  for (const picture of pictures) {
    if (count() >= MOST_PICTURES) break;
    try {
      const blob = await picture.blob();
      const type = blob.type || (/\.jpe?g$/i.test(picture.path.at(-1)) ? 'image/jpeg' : '');
      put(one, await small(new Blob([blob], { type })));
    } catch { unread += 1; }
    show();
  }
  return unread;
}

async function takeInto(one, files) {
  const pictures = await picturesIn(files).catch(() => []);
  tell(await take(one, pictures), pictures.length);
}

const decoded = (name) => { try { return decodeURIComponent(name); } catch { return name; } };

// Each folder, in a zip or not, is a class.
async function takeAll(files) {
  const found = await picturesIn(files).catch(() => []);
  const saved = found.filter((one) => one.path.at(-3) === 'pictures'); // a model of this page has others beside them
  const pictures = saved.length ? saved : found;
  const folders = new Map();
  pictures.forEach((one) => folders.set(one.folder, [...(folders.get(one.folder) || []), one]));
  let unread = 0;
  for (const [folder, inside] of folders) {
    const name = decoded(folder).slice(0, 40);
    const one = classes.find((other) => other.name === name) || add(name);
    if (!one) break;
    unread += await take(one, inside);
  }
  tell(unread, pictures.length);
  if (!status.textContent && !button('teach').disabled) {
    say(READY);
  }
}

function tell(unread, all) {
  if (!all) say('There are no pictures in it that this page can take.');
  else if (unread) say(`${unread} of ${all} files are no pictures that this browser can read.`);
  else if (count() >= MOST_PICTURES) full();
  else if (classes.length < MOST_CLASSES) say('');
}

function add(name) {
  if (classes.length >= MOST_CLASSES) { say(`There is room for ${MOST_CLASSES} classes.`); return null; }
  const one = { name, pictures: [] };
  classes.push(one);
  history.push(() => { classes = classes.filter((other) => other !== one); });
  return one;
}

async function record(one, held) {
  try {
    await openCamera(video);
    while (held.is) {
      put(one, drawn(video, video.videoWidth, video.videoHeight, SIDE).toDataURL('image/jpeg', 0.9));
      show();
      await new Promise((done) => { setTimeout(done, PAUSE); });
    }
  } catch { say('The camera cannot be used: allow it in your browser, or add files.'); }
}

function row(one) {
  const item = document.createElement('li');
  item.innerHTML = '<div class="mw-tools"><input type="text" maxlength="40" aria-label="Name of the class">'
    + '<span class="mw-count"></span><button type="button" class="mw-add">Add pictures</button>'
    + '<button type="button" class="mw-record">Hold to record</button>'
    + '<button type="button" class="mw-drop">Take the class away</button>'
    + '<input type="file" accept="image/*,.zip" multiple hidden></div><div class="mw-pictures"></div>';
  const name = item.querySelector('input[type=text]');
  name.value = one.name;
  name.addEventListener('input', () => { one.name = name.value; update(one); ready(); });
  const files = item.querySelector('input[type=file]');
  item.querySelector('.mw-add').addEventListener('click', () => files.click());
  files.addEventListener('change', () => takeInto(one, [...files.files]));
  const recorder = item.querySelector('.mw-record');
  const held = { is: false };
  recorder.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    held.is = true;
    const stop = () => {
      held.is = false;
      ['pointerup', 'pointercancel'].forEach((end) => removeEventListener(end, stop));
    };
    ['pointerup', 'pointercancel'].forEach((end) => addEventListener(end, stop));
    record(one, held);
  });
  recorder.addEventListener('keydown', (event) => { // of a keyboard, one picture for each press
    if (event.key === 'Enter' || event.key === ' ') {
      held.is = true;
      record(one, held);
      setTimeout(() => { held.is = false; }, PAUSE / 2);
    }
  });
  item.querySelector('.mw-drop').addEventListener('click', () => {
    const place = classes.indexOf(one);
    classes.splice(place, 1);
    history.push(() => { classes.splice(place, 0, one); });
    show();
  });
  item.addEventListener('dragover', (event) => event.preventDefault());
  item.addEventListener('drop', (event) => {
    event.preventDefault();
    event.stopPropagation();
    dropped(event.dataTransfer).then((found) => takeInto(one, found));
  });
  return item;
}

function thumb(picture) {
  const button = document.createElement('button');
  button.type = 'button';
  button.style.backgroundImage = `url(${picture.address})`;
  button.addEventListener('click', () => {
    const one = classes.find((other) => other.pictures.includes(picture));
    const at = one.pictures.indexOf(picture);
    one.pictures.splice(at, 1);
    history.push(() => { one.pictures.splice(at, 0, picture); });
    show();
    (one.pictures[Math.min(at, one.pictures.length - 1)]?.thumb || one.item.querySelector('.mw-add')).focus();
  });
  return button;
}

// The elements that are there stay, and with them what is being typed or held.
function arrange(place, items) {
  const wanted = new Set(items);
  [...place.children].forEach((item) => { if (!wanted.has(item)) item.remove(); });
  items.forEach((item, at) => {
    if (place.children[at] !== item) place.insertBefore(item, place.children[at] || null);
  });
}

function update(one) {
  const held = one.pictures.length;
  one.item.querySelector('.mw-count').textContent = held === 1 ? '1 picture' : `${held} pictures`;
  one.pictures.forEach((picture, at) => {
    picture.thumb ||= thumb(picture);
    picture.thumb.setAttribute('aria-label', `Take picture ${at + 1} of ${one.name} away`);
  });
  arrange(one.item.querySelector('.mw-pictures'), one.pictures.map((picture) => picture.thumb));
}

// A phone that opens the code's address sends its pictures to the server, where they are asked for.
let phone = null; // its key
async function usePhone() {
  const place = element.querySelector('.mw-phone');
  const shown = (is) => { place.hidden = !is; button('phone').setAttribute('aria-expanded', String(is)); };
  if (phone) { phone = null; shown(false); return; }
  const address = new URL('phone/', location.href.split(/[?#]/)[0]).href;
  const found = await fetch('phone', { method: 'POST', body: JSON.stringify({ address }) });
  const told = await found.json();
  if (!found.ok) { say(told.detail); return; }
  phone = told.key;
  place.querySelector('.mw-code').innerHTML = told.code;
  place.querySelector('a').href = address + phone;
  shown(true);
  if (/^(localhost|127\.|\[::1\])/.test(location.host)) {
    say('A phone cannot reach this page at an address of this computer alone: open it by the name it has in your network.');
  }
  fetchPictures(phone);
}

async function fetchPictures(key) {
  while (phone === key) {
    try {
      const body = JSON.stringify({ classes: classes.map((one) => one.name.trim()).filter(Boolean) });
      const found = await fetch(`phone/${key}/fetch`, { method: 'POST', body });
      if (found.status === 404) { usePhone().then(usePhone); return; } // a new code
      const data = await found.arrayBuffer();
      const parts = [];
      for (let at = 0; at < data.byteLength;) {
        const size = new DataView(data).getUint32(at);
        parts.push(data.slice(at + 4, at + 4 + size));
        at += 4 + size;
      }
      for (let at = 0; at < parts.length; at += 2) {
        const name = new TextDecoder().decode(parts[at]);
        const one = classes.find((other) => other.name.trim() === name);
        if (one) put(one, await small(new Blob([parts[at + 1]], { type: 'image/jpeg' })));
      }
      if (parts.length) show();
    } catch { /* the server may come back */ }
    await new Promise((done) => { setTimeout(done, 1000); });
  }
}

function ready() {
  const names = classes.map((one) => one.name.trim());
  const enough = classes.length >= 2 && classes.every((one) => one.pictures.length >= 2)
    && names.every(Boolean) && new Set(names).size === names.length;
  button('teach').disabled = !enough || isLearning;
  if (!enough && status.textContent === READY) say('');
  button('undo').disabled = !history.length;
  button('forget').disabled = !classes.length && !isKnown;
}

function show() {
  arrange(list, classes.map((one) => { one.item ||= row(one); return one.item; }));
  classes.forEach(update);
  ready();
}

const actions = {
  class: () => { add(`class ${classes.length + 1}`); },
  folder: () => element.querySelector('.mw-folder').click(),
  phone: usePhone,
  zip: () => element.querySelector('.mw-zip').click(),
  undo: () => history.pop()?.(),
  forget: () => {
    if (!confirm('Forget all classes, pictures and the model that was taught? This cannot be undone.')) return;
    [classes, history, unsent, isKnown] = [[], [], {}, false];
    say('');
    clearTimeout(again);
    closeCamera(video);
    trigger('forget');
  },
  teach: () => { attempts = 0; clearTimeout(again); teach(); },
};

function teach() {
  if (button('teach').disabled) return; // what was to be taught is gone
  if (sending || Object.keys(unsent).length) { // until all have been sent
    say('Sending the pictures …');
    clearTimeout(again);
    again = setTimeout(teach, PAUSE);
    return;
  }
  closeCamera(video);
  say(LEARNING);
  [isLearning, before] = [true, document.querySelector('.mw-taught')];
  ready();
  const told = classes.map((one) => [one.name.trim(), one.pictures.map((picture) => picture.number)]);
  props.value = JSON.stringify({ classes: Object.fromEntries(told) });
  trigger('teach');
}

// It is over, whatever came of it.
watch('over', () => {
  if (!isLearning) return; // the pictures did not all arrive, and it is asked for again
  isLearning = false;
  ready();
  if (document.activeElement === document.body) button('teach').focus({ preventScroll: true });
  say('');
  const result = document.querySelector('.mw-taught');
  if (result && result !== before) result.scrollIntoView({ block: 'nearest' });
});

// What was taken away and put back, or has been here for too long, is sent again; at first it may be on its way.
watch('missing', () => {
  if (!props.missing) return;
  isLearning = false;
  ready();
  attempts += 1;
  if (attempts > ATTEMPTS) { say('The pictures do not arrive: please press Teach again in some minutes.'); return; }
  say('Sending the pictures …');
  const { numbers } = JSON.parse(props.missing);
  if (attempts > 1) {
    const wanted = new Set(numbers);
    classes.forEach((one) => one.pictures.forEach(({ number, address }) => {
      if (wanted.has(number)) unsent[number] = address;
    }));
    sending ||= setTimeout(send, PAUSE);
  }
  again = setTimeout(teach, 500 * attempts);
});

addEventListener('beforeunload', (event) => { if (count()) event.preventDefault(); });

// A model that the camera asks, or a table, is in use, though the page hears nothing of it.
let acted = 0;
['pointerdown', 'keydown'].forEach((kind) => document.addEventListener(kind, () => { acted = Date.now(); }));
setInterval(() => {
  const isWatching = document.querySelector('#mw-live video')?.srcObject;
  if (isKnown && (isWatching || Date.now() - acted < STAYS)) trigger('stay');
}, STAYS);

element.addEventListener('click', (event) => {
  const name = event.target.closest('[data-do]')?.dataset.do;
  if (!name) return;
  actions[name]();
  if (name !== 'teach') show();
});
element.querySelectorAll('.mw-open').forEach((input) => input.addEventListener('change', async () => {
  await takeAll([...input.files]);
  input.value = '';
}));
element.addEventListener('dragover', (event) => event.preventDefault());
element.addEventListener('drop', (event) => {
  event.preventDefault();
  dropped(event.dataTransfer).then(takeAll);
});

// Pictures that a cell of the table stands for: looked at, moved to another class, taken away.
function lookAt(numbers, place) {
  const shown = classes.flatMap((one) => one.pictures.filter((picture) => numbers.has(picture.number))
    .map((picture) => ({ one, picture })));
  place.replaceChildren(...shown.map(({ one, picture }) => {
    const item = document.createElement('label');
    const image = document.createElement('img');
    [image.src, image.alt] = [picture.address, `a picture of ${one.name}`];
    const choice = document.createElement('select');
    choice.setAttribute('aria-label', `Class of this picture of ${one.name}`);
    choice.append(...classes.map((other) => new Option(other.name, '', false, other === one)), new Option('take away'));
    choice.addEventListener('change', () => {
      const to = classes[choice.selectedIndex];
      const at = one.pictures.indexOf(picture);
      one.pictures.splice(at, 1);
      to?.pictures.push(picture);
      history.push(() => {
        if (to) to.pictures = to.pictures.filter((other) => other !== picture);
        one.pictures.splice(at, 0, picture);
      });
      show();
      item.remove();
      say('Teach it again to see what that changes.');
    });
    item.append(image, choice);
    return item;
  }));
  if (!shown.length) place.textContent = 'These pictures have been taken away.';
}
document.addEventListener('click', (event) => {
  const cell = event.target.closest('.mw-taught [data-pictures]');
  if (!cell) return;
  document.querySelectorAll('.mw-taught [data-pictures]').forEach((one) => one.setAttribute('aria-pressed', one === cell));
  lookAt(new Set(cell.dataset.pictures.split(',').map(Number)), document.querySelector('.mw-opened'));
});
show();
