// Pictures from the camera, from files, folders and zips, made small in the browser. Put before the scripts of the
// panels that take pictures.
const PICTURE = /\.(jpe?g|png|webp|gif|bmp|avif|hei[cf]|tiff?)$/i;
const LARGEST = 60e6; // bytes of a picture in a zip

// The middle square of a source, or all of it within a side, as a canvas.
function drawn(source, width, height, side, whole = false) {
  const canvas = document.createElement('canvas');
  const part = whole ? Math.max(width, height) : Math.min(width, height);
  const scale = whole ? Math.min(1, side / part) : side / part;
  canvas.width = whole ? Math.max(1, Math.round(width * scale)) : side;
  canvas.height = whole ? Math.max(1, Math.round(height * scale)) : side;
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  const [w, h] = [width * scale, height * scale];
  context.drawImage(source, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
  return canvas;
}

async function bitmap(blob) {
  return createImageBitmap(blob, { imageOrientation: 'from-image' });
}

async function openCamera(video) {
  video.srcObject ||= await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
  video.hidden = false;
  await video.play();
}

function closeCamera(video) {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
}

// What a zip holds, by its table of contents at the end: [{path, blob()}].
async function unzipped(file) {
  const view = async (from, to) => new DataView(await file.slice(from, to).arrayBuffer());
  const tail = await view(Math.max(0, file.size - 65557), file.size);
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end -= 1;
  if (end < 0) throw new Error('no zip');
  const [size, from] = [tail.getUint32(end + 12, true), tail.getUint32(end + 16, true)];
  const table = await view(from, from + size);
  const found = [];
  for (let at = 0; at + 46 <= table.byteLength && table.getUint32(at, true) === 0x02014b50;) {
    const [method, packed, full] = [table.getUint16(at + 10, true), table.getUint32(at + 20, true), table.getUint32(at + 24, true)];
    const [name, extra, comment] = [28, 30, 32].map((place) => table.getUint16(at + place, true));
    const start = table.getUint32(at + 42, true);
    const path = new TextDecoder().decode(new Uint8Array(table.buffer, at + 46, name));
    at += 46 + name + extra + comment;
    if (full > LARGEST || ![0, 8].includes(method)) continue;
    const blob = async () => {
      const head = await view(start, start + 30);
      const begin = start + 30 + head.getUint16(26, true) + head.getUint16(28, true);
      const part = file.slice(begin, begin + packed);
      if (method === 0) return part;
      return new Response(part.stream().pipeThrough(new DecompressionStream('deflate-raw'))).blob();
    };
    found.push({ path, blob });
  }
  return found;
}

// The pictures among files, those in zips among them: [{path: its parts, folder, blob()}].
async function picturesIn(files) {
  const found = [];
  for (const file of files) {
    const path = file.path || file.webkitRelativePath || file.name;
    const inside = /\.zip$/i.test(path)
      ? await unzipped(await (file.blob ? file.blob() : file)) : [{ path, blob: file.blob || (async () => file) }];
    for (const one of inside) {
      const parts = one.path.split('/');
      const hidden = parts.some((part) => part.startsWith('.') || part === '__MACOSX');
      const is = PICTURE.test(one.path) || (file.type || '').startsWith('image/');
      if (is && !hidden) found.push({ path: parts, folder: parts.at(-2) || '', blob: one.blob });
    }
  }
  return found;
}

// What was dropped: files, and folders with all in them.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => { entry.file(done, fail); });
      found.push({ path: entry.fullPath.slice(1), type: file.type, blob: async () => file });
      return;
    }
    const reader = entry.createReader();
    for (;;) { // a hundred at a time
      const some = await new Promise((done, fail) => { reader.readEntries(done, fail); });
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}
