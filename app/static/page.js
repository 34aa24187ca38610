// Once per visit, when the page is there: the colour scheme that the person chose, and the pill.
() => {
  const body = document.body;
  const button = () => document.querySelector('#mw-dark');
  const tell = () => {
    const dark = body.classList.contains('dark');
    button()?.setAttribute('aria-pressed', String(dark));
  };
  const remembered = (() => { try { return localStorage.getItem('mw-scheme'); } catch { return null; } })();
  if (remembered) body.classList.toggle('dark', remembered === 'dark');
  tell();
  document.addEventListener('click', (event) => {
    if (!event.target.closest('#mw-dark')) return;
    const dark = body.classList.toggle('dark');
    try { localStorage.setItem('mw-scheme', dark ? 'dark' : 'light'); } catch { /* private mode */ }
    tell();
  });

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
