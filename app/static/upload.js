// How a picture comes in: only the ways that this browser has, and never larger than it may be.
{
  const { mostBytes, mostPixels } = document.documentElement.dataset;
  const MOST_BYTES = Number(mostBytes);
  const MOST_PIXELS = Number(mostPixels);
  const PHOTO = '#mw-photo';
  const FILE = `${PHOTO} input[type=file]`;

  // Over plain http a browser keeps its camera and its clipboard to itself.
  const lacks = [];
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) lacks.push('camera');
  if (!window.isSecureContext || !navigator.clipboard?.read) lacks.push('paste');
  document.documentElement.classList.add(...lacks.map((name) => `mw-no-${name}`));

  const say = (id, className, words, role) => {
    document.getElementById(id)?.remove();
    const line = document.createElement('p');
    Object.assign(line, { id, className, textContent: words });
    if (role) line.setAttribute('role', role);
    document.querySelector(PHOTO)?.after(line);
  };
  const refuse = (words) => {
    document.body.classList.add('mw-refused'); // hides what was said about the file before
    say('mw-too-large', 'mw-notice', words, 'alert');
  };
  const unsay = () => {
    document.getElementById('mw-too-large')?.remove();
    document.body.classList.remove('mw-refused');
  };
  const explain = () => say(
    'mw-lacks', 'mw-quiet',
    `The ${lacks.map((name) => `${name} button`).join(' and the ')} ${lacks.length > 1 ? 'need' : 'needs'} `
    + 'a page opened by https or on this computer itself (localhost). '
    + 'On a phone, tap the field above: it offers the camera, too.',
  );

  const passed = new WeakSet(); // files that were looked at

  const dropZone = async () => { // Gradio's own, which may come after the rest of the page
    for (let waited = 0; waited < 10_000; waited += 100) {
      const zone = document.querySelector(FILE);
      if (zone) return zone;
      await new Promise((done) => { setTimeout(done, 100); });
    }
    return null;
  };

  const hand = async (file) => {
    const zone = await dropZone();
    if (!zone) {
      refuse('The page has not come up in full: please reload it.');
      return;
    }
    passed.add(file);
    const files = new DataTransfer();
    files.items.add(file);
    zone.files = files.files;
    zone.dispatchEvent(new Event('change', { bubbles: true }));
  };

  // The picture as the browser shows it, so upright, in fewer pixels.
  const shrunk = async (image, name) => {
    const share = Math.min(1, Math.sqrt(Math.min(MOST_PIXELS, 12e6)
      / (image.naturalWidth * image.naturalHeight)));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.floor(image.naturalWidth * share));
    canvas.height = Math.max(1, Math.floor(image.naturalHeight * share));
    const context = canvas.getContext('2d');
    context.fillStyle = '#fff'; // as the server does with what is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', 0.9); });
    if (!blob || blob.size > MOST_BYTES) throw new Error('still too large');
    return new File([blob], `${name.replace(/\.\w+$/, '')}.jpg`, { type: 'image/jpeg' });
  };

  const take = async (file) => {
    unsay();
    const image = new Image();
    image.src = URL.createObjectURL(file);
    try {
      let fits = file.size <= MOST_BYTES;
      try {
        await image.decode();
        fits &&= image.naturalWidth * image.naturalHeight <= MOST_PIXELS;
      } catch (error) {
        if (file.type && !file.type.startsWith('image/')) {
          return refuse('This is no picture: please choose a file such as JPEG, PNG or WebP.');
        }
        if (fits) return hand(file); // the server says what it thinks of it
        throw error;
      }
      return hand(fits ? file : await shrunk(image, file.name));
    } catch {
      return refuse(
        `The file is over ${Math.floor(MOST_BYTES / 2 ** 20)} MB: please choose a smaller one.`,
      );
    } finally {
      URL.revokeObjectURL(image.src);
    }
  };

  document.addEventListener('change', (event) => {
    const file = event.target.matches?.(FILE) && event.target.files[0];
    if (!file || passed.has(file)) return;
    event.stopImmediatePropagation();
    take(file);
  }, true);
  document.addEventListener('click', unsay, true);
  document.addEventListener('mw-picture', (event) => take(event.detail)); // from another panel

  // Pictures that are pasted or dropped anywhere on the page.
  const picture = (files) => [...(files || [])].find((file) => file.type.startsWith('image/'));
  document.addEventListener('paste', (event) => {
    const file = picture(event.clipboardData?.files);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  document.addEventListener('dragover', (event) => {
    if (!event.target.closest(PHOTO)) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    const file = event.dataTransfer?.files?.[0];
    if (!file || event.target.closest('.mw-takes-files')) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    event.target.dispatchEvent(new DragEvent('dragleave', { bubbles: true })); // no more highlight
    take(file);
  }, true);

  if (lacks.length) {
    const wait = new MutationObserver(() => {
      if (!document.querySelector(PHOTO)) return;
      wait.disconnect();
      explain();
    });
    wait.observe(document.documentElement, { childList: true, subtree: true });
  }
}
