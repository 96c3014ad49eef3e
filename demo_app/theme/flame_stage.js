// The FLAME tab's head: sliders, undo, random heads, animations. The server makes each mesh; here it is shown.
// window.trgFlame gives the page's other buttons the parameters on screen.

const one = (selector) => element.querySelector(selector), all = (selector) => [...element.querySelectorAll(selector)];
const root = new URL(window.gradio_config?.root || document.baseURI, document.baseURI).href.replace(/[?#].*$/, '').replace(/\/?$/, '/');
const canvas = one('.flame-canvas'), message = one('.figure-message'), groups = one('.flame-groups'), player = one('.flame-player');
const ARRAYS = ['shape', 'expression', 'pose_rad', 'translation_m'], STRAIGHT = ['shape', 'expression'], MOST_UNDO = 100;
const view = createView(canvas);
let model = null, state = null, past = [], future = [], kept = null, first = null, clip = null, timer = null, comparing = false;
let wanted = null, isAsking = false, sent = 0, answered = null, line = null, drawnAt = 0, bySlider = false;

const copyOf = (parameters) => Object.fromEntries(ARRAYS.map((name) => [name, [...parameters[name]]]));
const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
const say = (text) => { message.textContent = text; };
const neutral = () => Object.fromEntries(ARRAYS.map((name) => [name, state[name].map(() => 0)]));

async function post(what, more) {
  const answer = await fetch(`${root}studio/flame/${what}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ desk: model.desk, ...state, ...more }) });
  if (!answer.ok) throw new Error(answer.status === 400 ? await answer.text() : 'The server did not answer: reload the page.');
  return answer;
}

// One question at a time; what was asked meanwhile is answered by the newest. isRepeat: nothing has moved.
async function refresh(isRepeat = false) {
  wanted = { began: performance.now(), isRepeat: isRepeat && (wanted?.isRepeat ?? true) };
  if (isAsking || !view) return;
  isAsking = true;
  while (wanted !== null) {
    const { began, isRepeat } = wanted, mine = model, asked = copyOf(state);
    wanted = null;
    try {
      const numbers = new Float32Array(await (await post('mesh')).arrayBuffer());
      if (mine !== model || comparing) continue;
      keep({ state: asked, numbers });
      if (began >= drawnAt) display(numbers, began, isRepeat);
      say('');
    } catch (error) { say(error.message); }
  }
  isAsking = false;
}

function display(numbers, began, isRepeat = false) {
  const end = 3 * model.vertices, vertices = numbers.slice(0, end), landmarks = numbers.slice(end);
  if (!view.heads().length) view.show([{ vertices, landmarks, triangles: model.triangles, colours: colours() }]);
  view.move(vertices, landmarks, isRepeat ? null : () => {
    element.dataset.ms = (performance.now() - began).toFixed(1);
    element.dataset.moves = ++sent;
    if (bySlider) one('.flame-latency').textContent = `${Math.round(element.dataset.ms)} ms a move`;
    bySlider = false;
  });
}

// While the pose stays, a mesh moves in straight lines with each coefficient: two meshes of the server tell all
// others along a slider, and those are drawn without asking. When the slider is let go the server is asked.
function keep(given) {
  const changed = answered ? changes(answered.state, given.state) : [];
  if (changed.length === 1 && STRAIGHT.includes(changed[0][0])) line = { at: changed[0], from: answered, to: given };
  else if (changed.length) line = null;
  answered = given;
}

function changes(before, after) {
  return ARRAYS.flatMap((name) => after[name].flatMap((value, k) => (value === before[name][k] ? [] : [[name, k]])));
}

function onLine() {
  if (!line) return null;
  const [name, k] = line.at, from = line.from.state[name][k], to = line.to.state[name][k];
  if (changes(line.from.state, state).some(([array, index]) => array !== name || index !== k)) return null;
  const share = (state[name][k] - from) / (to - from), [start, end] = [line.from.numbers, line.to.numbers];
  return start.map((value, i) => value + share * (end[i] - value));
}

function slideTo(slider, value) {
  state[slider.array][slider.index] = value;
  bySlider = true;
  leaveComparison();
  const numbers = view?.heads().length ? onLine() : null;
  if (!numbers) { refresh(); return; }
  drawnAt = performance.now();
  wanted = null;
  display(numbers, drawnAt);
}

function colours() {
  const made = new Uint8Array(3 * model.vertices);
  for (let i = 0; i < made.length; i += 3) made.set(model.colour, i);
  for (const mask of model.masks) {
    if (!mask.on || !one('[data-switch="masks"]').checked) continue;
    const rgb = [1, 3, 5].map((k) => parseInt(mask.colour.slice(k, k + 2), 16));
    for (const id of mask.ids) made.set(rgb, 3 * id);
  }
  return made;
}

function paintMasks() {
  const on = one('[data-switch="masks"]').checked;
  one('.flame-masks').hidden = !on || comparing;
  if (view?.heads().length && !comparing) view.paint(colours());
}

function setSlider(input) {
  const { array, index, scale, unit } = input.slider, value = state[array][index] / scale;
  const text = `${(+value.toFixed(2)).toString().replace('-', '−')}${unit && (unit === '°' ? unit : ` ${unit}`)}`;
  if (input.nextElementSibling.textContent === text) return;
  input.value = value;
  input.nextElementSibling.textContent = text;
  input.parentElement.classList.toggle('is-set', Math.abs(value) > 1e-6);
}

function setButtons() {
  one('[data-do="undo"]').disabled = !past.length;
  one('[data-do="redo"]').disabled = !future.length;
}

function setSliders() {
  for (const input of groups.querySelectorAll('input')) setSlider(input);
  setButtons();
}

function apply(parameters, remember = true) {
  if (remember) { past = [...past.slice(1 - MOST_UNDO), copyOf(state)]; future = []; }
  state = copyOf(parameters);
  leaveComparison();
  setSliders();
  refresh();
}

function buildSlider(slider) {
  const row = document.createElement('label'), name = document.createElement('span'), input = document.createElement('input'), value = document.createElement('output');
  row.className = 'flame-slider';
  row.dataset.find = slider.label.toLowerCase();
  name.textContent = slider.label;
  Object.assign(input, { type: 'range', min: slider.low, max: slider.high, step: slider.step, slider });
  input.dataset.slider = `${slider.array}-${slider.index}`;
  let before = null;
  input.addEventListener('input', () => {
    before ||= copyOf(state);
    pause();
    slideTo(slider, input.value * slider.scale);
    setSlider(input);
  });
  input.addEventListener('change', () => {
    if (!before) return;
    past = [...past.slice(1 - MOST_UNDO), before];
    future = [];
    before = null;
    setButtons();
    refresh(true);
  });
  row.addEventListener('dblclick', () => { const next = copyOf(state); next[slider.array][slider.index] = 0; apply(next); });
  row.title = 'Double click: back to 0';
  row.append(name, input, value);
  return row;
}

function buildPanel() {
  groups.replaceChildren(...model.groups.map((group) => {
    const box = document.createElement('details'), title = document.createElement('summary');
    box.open = group.open;
    title.textContent = group.title;
    box.append(title, ...group.sliders.map(buildSlider));
    return box;
  }));
  one('.flame-masks').replaceChildren(...model.masks.map((mask) => {
    const label = document.createElement('label'), box = document.createElement('input'), chip = document.createElement('i');
    Object.assign(box, { type: 'checkbox', checked: mask.on });
    box.addEventListener('change', () => { mask.on = box.checked; paintMasks(); });
    chip.style.setProperty('--key', mask.colour);
    label.append(box, chip, mask.name.replaceAll('_', ' '));
    return label;
  }));
  const masks = one('[data-switch="masks"]'), landmarks = one('[data-switch="landmarks"]');
  masks.disabled = !model.masks.length;
  landmarks.disabled = !model.landmarks;
  masks.parentElement.title = model.masks.length ? '' : 'FLAME_masks.pkl is not beside this model';
  landmarks.parentElement.title = model.landmarks ? '' : 'landmark_embedding.npy is not beside this model';
  one('.flame-search').value = '';
  if (window.innerWidth < 860) for (const box of groups.children) box.open = false;
}

one('.flame-search').addEventListener('input', (event) => {
  const words = event.target.value.trim().toLowerCase();
  for (const box of groups.children) {
    const inTitle = words && box.firstElementChild.textContent.toLowerCase().includes(words);
    const rows = [...box.querySelectorAll('.flame-slider')];
    for (const row of rows) row.hidden = Boolean(words) && !inTitle && !row.dataset.find.includes(words);
    box.hidden = rows.every((row) => row.hidden);
    if (words && !box.hidden) box.open = true;
  }
});

function undo() { if (past.length) { future.push(copyOf(state)); const last = past.pop(); apply(last, false); } }
function redo() { if (future.length) { past.push(copyOf(state)); const next = future.pop(); apply(next, false); } }

function leaveComparison() {
  if (!comparing) return;
  comparing = false;
  one('.flame-legend').hidden = one('.flame-captions').hidden = true;
  view.show([]);
  element.dataset.compared = 'false';
  paintMasks();
}

function pause() {
  clearTimeout(timer);
  timer = null;
  one('[data-do="play"]').textContent = '▶ Play';
}

function showFrame(k) {
  player.querySelector('input').value = k;
  player.querySelector('output').textContent = `${k + 1} / ${clip.frames.length}`;
  state = copyOf(clip.frames[k]);
  leaveComparison();
  setSliders();
  refresh();
}

function play() {
  if (timer) { pause(); return; }
  one('[data-do="play"]').textContent = '❚❚ Pause';
  const began_ms = performance.now(), from = Number(player.querySelector('input').value);
  const step = () => {
    showFrame((from + Math.floor((performance.now() - began_ms) / 1000 * clip.fps)) % clip.frames.length);
    timer = setTimeout(step, 1000 / clip.fps);
  };
  step();
}

const actions = {
  undo, redo, play,
  reset: () => apply(neutral()),
  front: () => view.restart(),
  close: () => { pause(); player.hidden = true; clip = null; },
};
for (const button of all('[data-do]')) button.addEventListener('click', () => model && actions[button.dataset.do]());
for (const button of all('[data-sample]')) {
  button.addEventListener('click', async () => {
    if (!model) return;
    pause();
    button.disabled = true;
    try { apply(await (await post('sample', { kind: button.dataset.sample })).json()); } catch (error) { say(error.message); }
    button.disabled = false;
  });
}
one('[data-switch="masks"]').addEventListener('change', paintMasks);
one('[data-switch="wires"]').addEventListener('change', (event) => view.wires(event.target.checked));
one('[data-switch="landmarks"]').addEventListener('change', (event) => view.points(event.target.checked));
player.querySelector('input').addEventListener('input', (event) => { pause(); showFrame(Number(event.target.value)); });
element.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z' || !model || event.target.type === 'search') return;
  event.preventDefault();
  (event.shiftKey ? redo : undo)();
});

function openModel(given) {
  pause();
  player.hidden = true;
  clip = kept = first = null;
  comparing = false;
  one('.flame-legend').hidden = one('.flame-captions').hidden = true;
  model = { ...given, triangles: new Uint32Array(bytesOf(given.triangles)), masks: given.masks.map((mask) => ({ ...mask, on: true, ids: new Uint32Array(bytesOf(mask.ids)) })) };
  model.masks.sort((a, b) => b.ids.length - a.ids.length);
  state = copyOf(given.parameters);
  past = [];
  future = [];
  answered = line = null;
  one('.flame-name').textContent = given.title;
  buildPanel();
  setSliders();
  view?.show([]);
  paintMasks();
  element.dataset.model = given.name;
  refresh();
}

function openComparison(given) {
  comparing = true;
  pause();
  const heads = given.heads.map((head) => ({
    vertices: new Float32Array(bytesOf(head.vertices)), triangles: new Uint32Array(bytesOf(head.triangles)),
    colours: new Uint8Array(bytesOf(head.colours)), lit: head.lit,
  }));
  view.show(heads);
  one('.flame-captions').replaceChildren(...given.heads.map((head) => Object.assign(document.createElement('span'), { textContent: head.name })));
  one('.flame-legend').innerHTML = given.legend;
  one('.flame-legend').hidden = one('.flame-captions').hidden = false;
  one('.flame-masks').hidden = true;
  element.dataset.compared = 'true';
}

function openClip(given) {
  clip = given;
  player.hidden = false;
  player.querySelector('input').max = given.frames.length - 1;
  past = [...past.slice(1 - MOST_UNDO), copyOf(state)];
  showFrame(0);
  pause();
  play();
}

const kinds = { model: openModel, comparison: openComparison, clip: openClip, parameters: (given) => apply(given.parameters) };

function show() {
  if (!props.value) return;
  if (!view) { say('This browser shows no WebGL, which the 3D view needs: files and numbers below still work.'); }
  for (const given of JSON.parse(props.value)) kinds[given.kind]?.(given);
}

window.trgFlame = {
  text: (...parts) => JSON.stringify(Object.fromEntries(parts.map((name) => [name, { now: state, kept: kept || (state && neutral()), first: first || (state && neutral()) }[name]]))),
  keep: () => { kept = copyOf(state); },
  start: () => { first = copyOf(state); },
  vertices: () => [...view.heads()[0].vertices],
  camera: () => view.camera(),
  async download(kind) {
    if (!model) return;
    const { yaw, pitch } = view ? view.camera() : { yaw: 0, pitch: 0 };
    const button = document.querySelector(`#flame-file-${kind}`);
    button?.classList.add('is-waiting');
    try {
      const answer = await post('file', { kind, view: { yaw_deg: -yaw * 180 / Math.PI, pitch_deg: pitch * 180 / Math.PI } });
      const name = /filename="([^"]+)"/.exec(answer.headers.get('content-disposition'))[1];
      const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(await answer.blob()), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      say('');
    } catch (error) { say(error.message); }
    button?.classList.remove('is-waiting');
  },
};

watch('value', show);
show();
