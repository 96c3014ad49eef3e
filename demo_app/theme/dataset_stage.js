// One sample's picture with what one does to it: previous, next, play, flag, back. Keys: arrows step, space plays, f flags,
// Escape goes back. Events: 'stepped', 'played', 'flagged', 'closed'.

const stage = element.querySelector('.ds-stage'), image = element.querySelector('.ds-stage-picture'), title = element.querySelector('.ds-stage-title');
const button = Object.fromEntries([...element.querySelectorAll('button[data-do]')].map((one) => [one.dataset.do, one]));
const root = new URL(window.gradio_config?.root || document.baseURI, document.baseURI).href.replace(/[?#].*$/, '').replace(/\/?$/, '/');
const address = (path) => root + path.replace(/^\//, '');
const FRAME_MS = 120, WAIT_MS = 4000;
let state = {}, playing = null, frames = [], at = 0, asked_ms = -Infinity;

function paintFlag(on) {
  state.flagged = on;
  button.flag.setAttribute('aria-pressed', String(on));
  button.flag.textContent = on ? '⚑ Flagged' : '⚐ Flag';
}

function stop(arrive = true) {
  if (!playing) return;
  clearTimeout(playing);
  playing = null;
  button.play.textContent = '▶ Play';
  button.play.setAttribute('aria-pressed', 'false');
  if (arrive && frames[at]) trigger('stepped', { key: frames[at][0] });
}

function nextFrame() {
  if (at + 1 >= frames.length) { stop(); return; }
  const ahead = new Image();
  const began_ms = performance.now();
  ahead.onload = ahead.onerror = () => {
    if (!playing) return;
    at += 1;
    image.src = ahead.src;
    title.textContent = frames[at][0];
    playing = setTimeout(nextFrame, Math.max(0, FRAME_MS - (performance.now() - began_ms)));
  };
  ahead.src = address(frames[at + 1][1]);
}

function play() {
  if (playing) { stop(); return; }
  button.play.textContent = '❚❚ Pause';
  button.play.setAttribute('aria-pressed', 'true');
  playing = -1;
  trigger('played', {});
}

// One step at a time: a key that is held down would ask faster than samples are read.
function step(key) {
  stop(false);
  if (!key || performance.now() - asked_ms < WAIT_MS) return;
  asked_ms = performance.now();
  trigger('stepped', { key });
}

const actions = {
  back: () => { stop(false); trigger('closed', {}); },
  previous: () => step(state.previous),
  next: () => step(state.next),
  play,
  flag: () => { stop(); paintFlag(!state.flagged); trigger('flagged', { key: state.key, on: state.flagged }); },
};
for (const [name, one] of Object.entries(button)) one.addEventListener('click', () => actions[name]());

stage.addEventListener('keydown', (event) => {
  const name = { ArrowLeft: 'previous', ArrowRight: 'next', f: 'flag', F: 'flag', ' ': 'play', Escape: 'back' }[event.key];
  if (!name || event.ctrlKey || event.metaKey || event.altKey || (event.key === ' ' && event.target.closest('button'))) return;
  event.preventDefault();
  if (!button[name].disabled && !(name === 'flag' && element.closest('.ds-read-only'))) actions[name]();
});

function show() {
  const given = props.value ? JSON.parse(props.value) : {};
  if (given.play) {
    if (!playing) return;
    frames = given.play;
    at = Math.max(0, frames.findIndex(([key]) => key === state.key));
    if (at + 1 >= frames.length) at = -1;
    nextFrame();
    return;
  }
  if (playing) stop(false);
  asked_ms = -Infinity;
  const isOther = given.key !== state.key;
  state = given;
  stage.hidden = !given.key;
  if (!given.key) return;
  stage.dataset.key = given.key;
  title.textContent = given.key;
  if (image.src !== address(given.src)) image.src = address(given.src);
  image.alt = `Sample ${given.key} with its label drawn`;
  button.previous.disabled = !given.previous;
  button.next.disabled = !given.next;
  button.play.disabled = !(given.count > 1);
  paintFlag(given.flagged);
  if (isOther && given.focus) stage.focus({ preventScroll: true });
}

image.addEventListener('error', () => { stage.dataset.state = 'missing'; });
image.addEventListener('load', () => { stage.dataset.state = 'loaded'; });
watch('value', show);
show();
