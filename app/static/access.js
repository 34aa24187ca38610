// For those who use a keyboard or listen to the page: where the focus goes, and what is said.
{
  const one = (selector) => document.querySelector(selector);
  const shown = (node) => Boolean(node?.isConnected && node.checkVisibility({ visibilityProperty: true }));
  const focus = (node) => {
    if (!node.matches('a, button, input, [tabindex]')) node.tabIndex = -1;
    node.focus({ preventScroll: true });
  };

  document.addEventListener('click', (event) => {
    if (!event.target.closest('.mw-skip')) return;
    event.preventDefault();
    const answer = one('#mw-result');
    if (!answer) return;
    focus(answer);
    answer.scrollIntoView();
  });

  // What had the focus is gone: what has come in its place gets it, and never the whole page.
  const HEIRS = ['.mw-square', '#mw-photo button', '[role=tab][aria-selected=true]'];
  let last = null;
  let region = null;
  document.addEventListener('focusin', ({ target }) => {
    last = target;
    region = target.closest('#mw-top, #mw-input, #mw-result');
  });
  document.addEventListener('pointerdown', () => { last = null; }, true);
  document.addEventListener('click', (event) => { last = event.target.closest('button') || last; }, true);
  document.addEventListener('keydown', ({ key, target }) => {
    if (!['Enter', 'Escape'].includes(key) || !target.matches('#mw-model input')) return;
    setTimeout(() => { if (document.activeElement === document.body) focus(one('#mw-model')); }, 50);
  }, true);
  // An edit of the memory draws its panel anew.
  const same = (button) => {
    const index = button.closest('.mw-chosen')?.dataset.index;
    return [`.mw-samples [data-index="${index}"]`, `.mw-edits [data-edit=${button.dataset.edit}]:enabled`, '.mw-edits button'];
  };
  const inherit = () => {
    if (document.activeElement !== document.body || !last || shown(last)) return;
    const places = last.dataset.edit ? same(last) : region?.id === 'mw-input' ? HEIRS : [];
    const heirs = places.map(one);
    const heir = [...heirs, region].find(shown);
    if (heir) focus(heir);
  };

  // One place tells the answer, and it is there from the start: one that is put in is not read out.
  let said = '';
  const tell = () => {
    const place = one('#mw-status');
    const words = [one('.mw-unlike strong'), one('.mw-verdict') || one('.mw-empty')];
    const text = words.map((found) => found?.innerText.replace(/\s*\n\s*/g, ', ').trim()).filter(Boolean).join(' ');
    if (!place || text === said) return;
    if (said) place.textContent = text;
    said = text || said;
  };

  let due = 0;
  new MutationObserver(() => {
    clearTimeout(due);
    due = setTimeout(() => {
      // Its name is the text on it, so that it can be called by what is seen.
      one('#mw-photo button[aria-label][aria-dropeffect]')?.removeAttribute('aria-label');
      inherit();
      tell();
    }, 120);
  }).observe(document.documentElement, {
    childList: true, subtree: true, attributes: true, attributeFilter: ['class', 'hidden', 'style', 'aria-label'],
  });

  document.addEventListener('keydown', (event) => {
    const tab = event.target.closest?.('[role=tab]');
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (tab && step) {
      const tabs = [...tab.parentElement.querySelectorAll('[role=tab]')].filter(shown);
      const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
      event.preventDefault();
      next.click();
      next.focus();
    }
    if (event.key === 'Escape') one('.api-docs .backdrop')?.click();
  });
}
