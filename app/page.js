// Once per visit: the colour scheme that the person chose, and pictures pasted or dropped anywhere.
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
      body.classList.toggle('mw-result-hidden', !entry.isIntersecting);
    }, { rootMargin: '0px 0px -120px 0px' }).observe(result);
  }
  document.addEventListener('click', (event) => {
    const asks = event.target.closest('.mw-pill, #mw-explain');
    if (!asks || !body.classList.contains('mw-result-hidden')) return;
    event.preventDefault();
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    result?.scrollIntoView({ behavior: calm ? 'auto' : 'smooth' });
  });

  // Gradio's own drop zone gets what was pasted or dropped elsewhere on the page.
  const hand = (file) => {
    const input = document.querySelector('#mw-photo input[type=file]');
    if (!input || !file) return false;
    const files = new DataTransfer();
    files.items.add(file);
    input.files = files.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
    return true;
  };
  const picture = (files) => [...(files || [])].find((file) => file.type.startsWith('image/'));
  document.addEventListener('paste', (event) => {
    if (hand(picture(event.clipboardData?.files))) event.preventDefault();
  });
  document.addEventListener('dragover', (event) => {
    if (!event.target.closest('#mw-photo')) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (event.target.closest('#mw-photo')) return;
    event.preventDefault();
    hand(event.dataTransfer?.files?.[0]);
  });
}
