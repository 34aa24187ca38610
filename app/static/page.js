// Once per visit, when the page is there: the colours and the size of type that the person chose, and the pill.
() => {
  const recall = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private mode */ } };
  const toggle = (id, target, name, key, [on, off]) => {
    const tell = () => document.querySelector(id)
      ?.setAttribute('aria-pressed', String(target.classList.contains(name)));
    const remembered = recall(key);
    if (remembered) target.classList.toggle(name, remembered === on);
    tell();
    document.addEventListener('click', (event) => {
      if (!event.target.closest(id)) return;
      keep(key, target.classList.toggle(name) ? on : off);
      tell();
    });
  };
  toggle('#mw-dark', document.body, 'dark', 'mw-scheme', ['dark', 'light']);
  toggle('#mw-large', document.documentElement, 'mw-large', 'mw-type', ['large', 'usual']);

  // Below one column's worth of screen a pill carries the answer while the result is out of sight.
  const result = document.querySelector('#mw-result');
  if (result) {
    new IntersectionObserver(([entry]) => {
      result.classList.toggle('mw-away', !entry.isIntersecting);
    }, { rootMargin: '0px 0px -120px 0px' }).observe(result);
  }
  document.addEventListener('click', (event) => {
    const asks = event.target.closest('.mw-pill');
    if (!asks || !result?.classList.contains('mw-away')) return;
    event.preventDefault();
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    result.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
  });
}
