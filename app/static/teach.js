// Classes of one's own. Pictures are made small here and sent as they come; which belong to which class is told
// when they are taught. value: JSON. Events: 'brought' {pictures: {number: data address}}, 'teach' {classes: {name:
// [numbers]}}, 'forget'.
const SIDE = 224;
const [MOST_CLASSES, MOST_PICTURES, EACH_TIME, PAUSE] = [10, 400, 30, 200];
const list = element.querySelector('.mw-classes');
const status = element.querySelector('.mw-said');
const video = element.querySelector('video');
const button = (name) => element.querySelector(`[data-do=${name}]`);
let classes = []; // {name, pictures: [{number, address}]}
let history = []; // what undoes the last steps
let unsent = {};
let next = 0;
let sending = null;

const say = (words) => { status.textContent = words; };
const count = () => classes.reduce((sum, one) => sum + one.pictures.length, 0);

function send() {
  const some = Object.entries(unsent).slice(0, EACH_TIME);
  if (!some.length) { sending = null; return; }
  some.forEach(([number]) => delete unsent[number]);
  props.value = JSON.stringify({ pictures: Object.fromEntries(some) });
  trigger('brought');
  sending = setTimeout(send, PAUSE);
}

function put(one, address) {
  if (count() >= MOST_PICTURES) {
    say(`There is room for ${MOST_PICTURES} pictures: take some away first.`);
    return;
  }
  const picture = { number: next, address };
  next += 1;
  one.pictures.push(picture);
  history.push(() => { one.pictures = one.pictures.filter((other) => other !== picture); });
  unsent[picture.number] = address;
  sending ||= setTimeout(send, PAUSE);
}

function small(source, width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIDE;
  const side = Math.min(width, height);
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, SIDE, SIDE);
  context.imageSmoothingQuality = 'high';
  context.drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, SIDE, SIDE);
  return canvas.toDataURL('image/jpeg', 0.9);
}

async function take(one, files) {
  let unread = 0;
  for (const file of files) {
    try {
      const image = await createImageBitmap(file, { imageOrientation: 'from-image' });
      put(one, small(image, image.width, image.height));
      image.close();
    } catch { unread += 1; }
  }
  show();
  say(unread ? `${unread} of ${files.length} files are no pictures that this browser can read.` : '');
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
    video.srcObject ||= await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    video.hidden = false;
    await video.play();
    while (held.is) {
      put(one, small(video, video.videoWidth, video.videoHeight));
      show();
      await new Promise((done) => { setTimeout(done, PAUSE); });
    }
  } catch { say('The camera cannot be used: allow it in your browser, or add files.'); }
}

function stopCamera() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
}

function row(one, place) {
  const item = document.createElement('li');
  item.innerHTML = '<div class="mw-tools"><input type="text" maxlength="40" aria-label="Name of the class">'
    + '<span class="mw-count"></span><button type="button" class="mw-add">Add pictures</button>'
    + '<button type="button" class="mw-record">Hold to record</button>'
    + '<button type="button" class="mw-drop">Take the class away</button>'
    + '<input type="file" accept="image/*" multiple hidden></div><div class="mw-pictures"></div>';
  const name = item.querySelector('input[type=text]');
  name.value = one.name;
  name.addEventListener('input', () => { one.name = name.value; ready(); });
  item.querySelector('.mw-count').textContent = `${one.pictures.length} pictures`;
  const files = item.querySelector('input[type=file]');
  item.querySelector('.mw-add').addEventListener('click', () => files.click());
  files.addEventListener('change', () => take(one, [...files.files]));
  const recorder = item.querySelector('.mw-record');
  const held = { is: false };
  recorder.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    held.is = true;
    const stop = () => { held.is = false; removeEventListener('pointerup', stop); };
    addEventListener('pointerup', stop);
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
    classes.splice(place, 1);
    history.push(() => { classes.splice(place, 0, one); });
    show();
  });
  item.addEventListener('dragover', (event) => event.preventDefault());
  item.addEventListener('drop', (event) => {
    event.preventDefault();
    event.stopPropagation();
    take(one, [...event.dataTransfer.files]);
  });
  one.pictures.forEach((picture, at) => {
    const thumb = document.createElement('button');
    thumb.type = 'button';
    thumb.setAttribute('aria-label', `Take picture ${at + 1} of ${one.name} away`);
    thumb.style.backgroundImage = `url(${picture.address})`;
    thumb.addEventListener('click', () => {
      one.pictures.splice(at, 1);
      history.push(() => { one.pictures.splice(at, 0, picture); });
      show();
    });
    item.querySelector('.mw-pictures').append(thumb);
  });
  return item;
}

function ready() {
  const names = classes.map((one) => one.name.trim());
  const enough = classes.length >= 2 && classes.every((one) => one.pictures.length >= 2)
    && names.every(Boolean) && new Set(names).size === names.length;
  button('teach').disabled = !enough;
  button('undo').disabled = !history.length;
  button('forget').disabled = !classes.length;
}

function show() {
  list.replaceChildren(...classes.map(row));
  ready();
}

const actions = {
  class: () => { add(`class ${classes.length + 1}`); },
  folder: () => element.querySelector('.mw-folder').click(),
  undo: () => history.pop()?.(),
  forget: () => {
    [classes, history, unsent] = [[], [], {}];
    stopCamera();
    trigger('forget');
  },
  teach: () => {
    if (sending || Object.keys(unsent).length) { // until all have been sent
      say('Sending the pictures …');
      setTimeout(actions.teach, PAUSE);
      return;
    }
    stopCamera();
    say('');
    const told = classes.map((one) => [one.name.trim(), one.pictures.map((picture) => picture.number)]);
    props.value = JSON.stringify({ classes: Object.fromEntries(told) });
    trigger('teach');
  },
};
element.addEventListener('click', (event) => {
  const name = event.target.closest('[data-do]')?.dataset.do;
  if (!name) return;
  actions[name]();
  if (name !== 'teach') show();
});
element.querySelector('.mw-folder').addEventListener('change', async (event) => {
  const files = [...event.target.files].filter((file) => file.type.startsWith('image/'));
  const folders = Map.groupBy
    ? Map.groupBy(files, (file) => file.webkitRelativePath.split('/').at(-2))
    : files.reduce((map, file) => map.set(file.webkitRelativePath.split('/').at(-2),
      [...(map.get(file.webkitRelativePath.split('/').at(-2)) || []), file]), new Map());
  for (const [name, inside] of folders) {
    const one = classes.find((other) => other.name === name) || add(name);
    if (one) await take(one, inside);
  }
});
show();
