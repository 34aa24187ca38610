// Many pictures, answered one after the other at the plain door. value: JSON of {model, title, classes}. Before this
// stand media.js, pictures.js and REPORT: {columns, css, script}.
const [SIDE, THUMB, MOST, AT_ONCE, TRIES] = [512, 64, 2000, 3, 8];
const HEADS = ['picture', 'file', 'label', 'answer', 'sure, %', 'right, %', 'strongest memory', 'weight, %', 'nearest of another class'];
const find = (name) => element.querySelector(name);
const [bar, table, body] = [find('progress'), find('.mw-table'), find('.pictures tbody')];
const say = (words) => { find('.mw-said').textContent = words; };
const wait = (time) => new Promise((done) => { setTimeout(done, time); });
const chosen = () => JSON.parse(props.value);
const memories = new Map(); // address -> thumbnail and predicted class, by promise
const UNSEEN = { address: '', predicted: '' }; // a memory that cannot be had now
let values = []; // by REPORT.columns
let asked = null; // the model that the table is of
let running = 0;
let summed = 0;

function cell(row, content, className = '') {
  const made = row.insertCell();
  made.className = className;
  made.append(...[content].flat().filter((part) => part !== null && part !== undefined));
  return made;
}

function thumbnail(address, alt) {
  const image = document.createElement('img');
  [image.src, image.alt] = [address, alt];
  return image;
}

async function small(source) {
  const made = drawn(source, source.width, source.height, THUMB, true);
  return made.toDataURL(Math.max(source.width, source.height) > THUMB ? 'image/jpeg' : 'image/png');
}

// What is asked for once; again where that failed.
function remembered(address, read) {
  if (!memories.has(address)) {
    const found = asking(address).then(read);
    memories.set(address, found);
    found.catch(() => memories.delete(address));
  }
  return memories.get(address);
}

async function memory(model, index) {
  const name = encodeURIComponent(model);
  const all = await remembered(`v1/memory?model=${name}`, (found) => found.json());
  const read = (found) => found.blob().then(bitmap).then(small);
  return { address: await remembered(`v1/memory/${index}?model=${name}`, read), predicted: all[index].predicted };
}

// What the server answers; asked again where too many ask.
async function asking(address, options) {
  for (let tries = 1; ; tries += 1) {
    const found = await fetch(address, options);
    if (found.ok) return found;
    if (![429, 503].includes(found.status) || tries === TRIES) throw new Error((await found.json()).detail);
    await wait(1000 * (Number(found.headers.get('retry-after')) || 1));
  }
}

// The answer to one picture.
async function answer(model, image) {
  const canvas = drawn(image, image.width, image.height, SIDE, true);
  const type = Math.max(image.width, image.height) > 128 ? 'image/jpeg' : 'image/png';
  const sent = await new Promise((done) => { canvas.toBlob(done, type, 0.92); });
  return (await asking(`v1/classify?model=${encodeURIComponent(model)}`, { method: 'POST', body: sent })).json();
}

async function one(picture, { model, classes }) {
  const file = picture.path.join('/');
  const label = classes.includes(picture.folder) ? picture.folder : null;
  const value = Object.fromEntries(REPORT.columns.map((name) => [name, null]));
  Object.assign(value, { file, label });
  const row = document.createElement('tr');
  let [seen, told] = [null, null];
  try {
    const image = await bitmap(await picture.blob()).catch(() => { throw new Error('This browser cannot read it as a picture.'); });
    seen = await small(image);
    told = await answer(model, image);
  } catch (error) { value.error = error.message; }
  cell(row, seen && thumbnail(seen, ''));
  cell(row, file);
  cell(row, label || '');
  if (!told) {
    cell(row, value.error).colSpan = 6;
    return { row, value };
  }
  const [strongest] = [...told.memory].sort((a, b) => b.weight - a.weight);
  Object.assign(value, { predicted: told.predicted, probability: told.probabilities[told.predicted] });
  Object.assign(value, { trust: told.trust, unlike: told.unlike });
  const unlike = document.createElement('span');
  [unlike.className, unlike.textContent] = ['unlike', ' unlike everything known'];
  cell(row, [told.predicted, told.unlike ? unlike : null]);
  cell(row, (100 * value.probability).toFixed(1), 'number');
  // Never 0 or 100, as on the page.
  cell(row, told.trust === null ? '' : Math.min(Math.max(Math.round(100 * told.trust), 1), 99), 'number');
  if (strongest) {
    const other = told.counterfactual ?? told.contrast;
    Object.assign(value, { memory: strongest.index, memory_predicted: strongest.predicted, memory_weight: strongest.weight });
    const of = await memory(model, strongest.index).catch(() => UNSEEN);
    cell(row, [thumbnail(of.address, ''), ` ${strongest.predicted}`]);
    cell(row, (100 * strongest.weight).toFixed(1), 'number');
    if (other !== null) {
      const beside = await memory(model, other).catch(() => UNSEEN);
      Object.assign(value, { other, other_predicted: beside.predicted });
      cell(row, [thumbnail(beside.address, ''), ` ${beside.predicted}`]);
    } else cell(row, '');
  }
  Object.assign(row.dataset, { label: label || '', predicted: told.predicted });
  row.classList.toggle('wrong', label !== null && label !== told.predicted);
  return { row, value };
}

function sum() {
  summed = Date.now();
  const { classes } = asked;
  const labelled = values.filter((one) => one.label !== null && one.predicted !== null);
  const right = labelled.filter((one) => one.label === one.predicted).length;
  find('.mw-sum').textContent = `${asked.title}: ${values.length} picture${values.length === 1 ? '' : 's'}${labelled.length
    ? `, ${right} of ${labelled.length} that have a label told rightly (${((100 * right) / labelled.length).toFixed(1)} %)` : ''}.`;
  const confusion = find('.confusion');
  confusion.hidden = !labelled.length;
  const shown = classes.filter((name) => labelled.some((one) => one.label === name || one.predicted === name));
  const head = document.createElement('tr');
  cell(head, 'labelled ↓ called →');
  const scoped = (row, name, scope) => {
    const made = document.createElement('th');
    [made.scope, made.textContent] = [scope, name];
    row.append(made);
  };
  shown.forEach((name) => scoped(head, name, 'col'));
  const rows = shown.map((label) => {
    const row = document.createElement('tr');
    scoped(row, label, 'row');
    shown.forEach((predicted) => {
      const count = labelled.filter((one) => one.label === label && one.predicted === predicted).length;
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = count;
      Object.assign(button.dataset, { label, predicted });
      cell(row, count ? button : '0', 'number');
    });
    return row;
  });
  confusion.tBodies[0].replaceChildren(head, ...rows);
}

const tool = (name) => find(`[data-do=${name}]`);
function buttons() {
  tool('cancel').hidden = !running;
  ['files', 'folder'].forEach((name) => { tool(name).disabled = Boolean(running); });
  ['csv', 'report', 'clear'].forEach((name) => { tool(name).hidden = Boolean(running) || !values.length; });
  bar.hidden = !running;
  table.hidden = !values.length;
}

async function all(files) {
  if (running) return;
  const pictures = await picturesIn(files).catch(() => []);
  if (!pictures.length) { say('There are no pictures in it that this page can take.'); return; }
  const taken = pictures.slice(0, MOST);
  const [number, model] = [Date.now(), chosen()];
  if (values.length && model.model !== asked.model) actions.clear(); // a table is of one model
  asked = model;
  [running, bar.value] = [number, 0];
  say(taken.length < pictures.length ? `The first ${MOST} pictures are taken.` : '');
  let [next, done] = [0, 0];
  const work = async () => {
    while (next < taken.length && running === number) {
      next += 1;
      const { row, value } = await one(taken[next - 1], model);
      if (running !== number) return;
      values.push(value);
      row.hidden = Boolean(table.wanted) && !table.wanted(row.dataset);
      if (row.hidden) find('.all').hidden = false;
      body.append(row);
      done += 1;
      bar.value = done / taken.length;
      say(`${done} of ${taken.length}`);
      if (Date.now() - summed > 500) sum();
      buttons();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (running === number) stop();
}

function stop() {
  running = 0;
  sum();
  buttons();
}

function save(text, name, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const quoted = (value) => {
  const text = value === null ? '' : typeof value === 'boolean' ? (value ? 'True' : 'False') : `${value}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

const actions = {
  files: () => find('.mw-files').click(),
  folder: () => find('.mw-folder').click(),
  cancel: () => { say('Cancelled: what was answered is below.'); stop(); },
  csv: () => {
    const lines = values.map((one) => REPORT.columns.map((name) => quoted(one[name])).join(','));
    save([REPORT.columns.join(','), ...lines, ''].join('\n'), 'pictures.csv', 'text/csv');
  },
  report: () => {
    const page = document.implementation.createHTMLDocument(`${asked.title}: ${values.length} pictures`);
    const style = page.createElement('style');
    style.textContent = `body { font: 16px/1.4 system-ui, sans-serif; margin: 2rem; color-scheme: light dark; }\n${REPORT.css}`;
    const heading = page.createElement('h1');
    heading.textContent = asked.title;
    const script = page.createElement('script');
    script.textContent = `${REPORT.script}\ntabled(document.body);`;
    page.head.append(style);
    page.body.append(heading, ...[...table.children].map((one) => page.importNode(one, true)), script);
    save(`<!DOCTYPE html>\n${page.documentElement.outerHTML}`, 'pictures.html', 'text/html');
  },
  clear: () => {
    [values, table.wanted] = [[], null];
    body.replaceChildren();
    find('.all').hidden = true;
    say('');
    buttons();
  },
};
element.addEventListener('click', (event) => actions[event.target.closest('[data-do]')?.dataset.do]?.());
element.querySelectorAll('input[type=file]').forEach((input) => input.addEventListener('change', async () => {
  await all([...input.files]);
  input.value = '';
}));
element.addEventListener('dragover', (event) => event.preventDefault());
element.addEventListener('drop', (event) => {
  event.preventDefault();
  dropped(event.dataTransfer).then(all);
});
const tellName = () => { find('.mw-chosen-model').textContent = chosen().title; };
watch('value', tellName);
tellName();
HEADS.forEach((name) => {
  const head = document.createElement('th');
  head.scope = 'col';
  head.innerHTML = '<button type="button"></button>';
  head.firstChild.textContent = name;
  find('.pictures thead tr').append(head);
});
tabled(table);
