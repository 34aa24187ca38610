// Edits of the memory. The panel's HTML is replaced at each answer, so clicks are caught at the document.
// value: JSON of one edit, or of the sample that was chosen. Events: 'edit', 'select'.
const panel = () => document.getElementById('mw-what-if');

function choose(sample) {
  const chosen = panel().querySelector('.mw-chosen');
  panel().querySelectorAll('.mw-samples [aria-pressed=true]').forEach((one) => one.setAttribute('aria-pressed', 'false'));
  sample.setAttribute('aria-pressed', 'true');
  chosen.hidden = false;
  chosen.dataset.index = sample.dataset.index;
  chosen.querySelector('i').style.cssText = sample.querySelector('i').style.cssText;
  const tell = (place, words) => { chosen.querySelector(place).textContent = words; };
  tell('.mw-which', `memory no. ${sample.dataset.index}`);
  tell('.mw-told', sample.dataset.told);
  tell('.mw-weight-told', sample.dataset.weight);
  tell('.mw-similarity', sample.dataset.similarity);
  const button = chosen.querySelector('button');
  button.textContent = sample.dataset.gone ? 'Put it back' : 'Take it away';
  button.dataset.edit = sample.dataset.gone ? 'restore' : 'remove';
  props.value = JSON.stringify({ chosen: Number(sample.dataset.index) });
  trigger('select');
}

function valueOf(kind) {
  if (['remove', 'restore'].includes(kind)) return Number(panel().querySelector('.mw-chosen').dataset.index);
  if (['only_class', 'no_class', 'label'].includes(kind)) return panel().querySelector('.mw-of-class').value;
  if (kind === 'redraw') return Math.floor(Math.random() * 2 ** 31);
  return true;
}

document.addEventListener('click', (event) => {
  if (!panel() || !panel().contains(event.target)) return;
  const sample = event.target.closest('.mw-samples .mw-sample');
  if (sample) { choose(sample); return; }
  const button = event.target.closest('[data-edit]');
  if (!button) return;
  const kind = button.dataset.edit;
  props.value = JSON.stringify({ [kind]: valueOf(kind) });
  trigger('edit');
});
