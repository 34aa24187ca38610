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

  // Said here: Gradio would only say what the limit is.
  const MOST = 10 * 2 ** 20;
  const fits = () => {
    document.querySelector('#mw-too-large')?.remove();
    document.body.classList.remove('mw-refused');
  };
  const tooLarge = (event, files) => {
    fits();
    if (![...(files || [])].some((file) => file.size > MOST)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const words = document.createElement('p');
    words.id = 'mw-too-large';
    words.className = 'mw-notice';
    words.role = 'alert';
    words.textContent = 'The file is over 10 MB: please choose a smaller one.';
    document.querySelector('#mw-photo').after(words);
    document.body.classList.add('mw-refused'); // hides what was said about the file before
  };
  document.addEventListener('change', (event) => {
    if (event.target.matches('#mw-photo input[type=file]')) tooLarge(event, event.target.files);
  }, true);
  document.addEventListener('drop', (event) => tooLarge(event, event.dataTransfer?.files), true);
  document.addEventListener('click', fits, true);

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
