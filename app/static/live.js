// Answers to what the camera sees. value: JSON of {model, title, classes}.
const [VIEW, LEAST, BARS, SHOWN] = [224, 100, 4, 3];
const video = element.querySelector('video');
const answer = element.querySelector('.mw-live-answer');
const part = (name) => answer.querySelector(`.mw-live-${name}`);
const say = (words) => { element.querySelector('.mw-said').textContent = words; };
const wait = (time) => new Promise((done) => { setTimeout(done, time); });
let running = 0;
let times = [];

function buttons(on) {
  element.querySelectorAll('[data-do]').forEach((one) => { one.hidden = (one.dataset.do === 'start') === on; });
}

function bar(name, share) {
  const row = document.createElement('div');
  row.innerHTML = '<span></span><meter max="1"></meter><span class="mw-count"></span>';
  row.firstChild.textContent = name;
  row.querySelector('meter').value = share;
  row.lastChild.textContent = `${Math.round(100 * share)} %`;
  return row;
}

function memory(one, model) {
  const figure = document.createElement('figure');
  const image = document.createElement('img');
  image.src = `v1/memory/${one.index}?model=${encodeURIComponent(model)}`;
  image.alt = `memory no. ${one.index}`;
  image.addEventListener('load', () => image.classList.toggle('mw-pixels', image.naturalWidth < 100));
  const caption = document.createElement('figcaption');
  caption.textContent = `${one.predicted}, ${Math.round(100 * one.weight)} %`;
  figure.append(image, caption);
  return figure;
}

function show(told, model) {
  const shares = Object.entries(told.probabilities).sort((one, other) => other[1] - one[1]).slice(0, BARS);
  part('says').textContent = told.unlike ? 'Unlike everything that the model knows' : told.predicted;
  part('says').classList.toggle('mw-unlike', told.unlike);
  part('bars').replaceChildren(...shares.map((one) => bar(...one)));
  const used = [...told.memory].sort((one, other) => other.weight - one.weight).slice(0, SHOWN);
  const known = new Map([...part('memories').children].map((one) => [one.dataset.key, one]));
  part('memories').replaceChildren(...used.map((one) => { // a picture that stays does not flicker
    const key = `${model} ${one.index}`;
    const figure = known.get(key) || memory(one, model);
    figure.dataset.key = key;
    figure.lastChild.textContent = `${one.predicted}, ${Math.round(100 * one.weight)} %`;
    return figure;
  }));
  const now = performance.now();
  times = [...times.filter((time) => now - time < 3000), now];
  const rate = (1000 * (times.length - 1)) / Math.max(1, now - times[0]);
  part('rate').textContent = times.length > 2 ? `${rate.toFixed(1)} answers per second` : '';
  answer.hidden = false;
}

const frame = () => new Promise((done) => {
  drawn(video, video.videoWidth, video.videoHeight, VIEW).toBlob(done, 'image/jpeg', 0.85);
});

async function run(number) {
  try { await openCamera(video); } catch {
    stop();
    say('The camera cannot be used: allow it in your browser.');
    return;
  }
  while (running === number) {
    const [begun, { model }] = [performance.now(), JSON.parse(props.value)];
    try {
      const found = await fetch(`v1/classify?model=${encodeURIComponent(model)}`, { method: 'POST', body: await frame() });
      const told = await found.json();
      if (running !== number) return;
      if (found.ok) { say(''); show(told, model); } else say(told.detail);
      if (!found.ok) await wait(1000 * Math.min(10, Number(found.headers.get('retry-after')) || 1));
    } catch {
      say('The server does not answer.');
      await wait(2000);
    }
    await wait(Math.max(0, LEAST - (performance.now() - begun)));
  }
}

function stop() {
  running = 0;
  closeCamera(video);
  buttons(false);
  answer.hidden = true;
}

const actions = {
  start: () => { buttons(true); running = Date.now(); times = []; run(running); },
  stop,
  ask: () => drawn(video, video.videoWidth, video.videoHeight, 448).toBlob((blob) => {
    stop();
    const file = new File([blob], 'camera.jpg', { type: 'image/jpeg' });
    document.dispatchEvent(new CustomEvent('mw-picture', { detail: file }));
  }, 'image/jpeg', 0.9),
};
element.addEventListener('click', (event) => actions[event.target.closest('[data-do]')?.dataset.do]?.());
document.addEventListener('visibilitychange', () => { if (document.hidden && running) stop(); });
