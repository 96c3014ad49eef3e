// The Training tab as a whole: looks again and again while it is in sight, so a reload, a second browser or a server that was
// started anew all come to the same picture, which is that of the folders on disk.

const LOOK_BUSY_MS = 1000, LOOK_IDLE_MS = 3000, LOOK_LOST_MS = 1500, MOST_COMPARED = 49;
let state = null, openRun = '', compare = [], view = '', waiting = 0, looking = false, again = false;

const runsNode = one('.tr-runs'), formNode = one('.tr-new'), runNode = one('.tr-run');
const form = new RunForm(formNode, (name) => go(name)), page = new RunPage(runNode, (what, more) => does(what, more));

const inSight = () => desk.getBoundingClientRect().width > 0 && !document.hidden;

function address() {
  const asked = new URLSearchParams(location.search);
  return asked.get('tab') === 'training' ? { run: asked.get('run') || '', compare: (asked.get('with') || '').split(',').filter(Boolean) } : null;
}
function writeAddress() {
  const query = new URLSearchParams({ tab: 'training' });
  if (openRun) query.set('run', openRun);
  if (compare.length) query.set('with', compare.join(','));
  history.replaceState(history.state, '', `${location.pathname}?${query}${location.hash}`);
}
window.trgTraining = {
  enter() { writeAddress(); look(); },
  leave() { if (address()) history.replaceState(history.state, '', location.pathname + location.hash); },
};

function go(name) {
  openRun = name;
  compare = compare.filter((other) => other !== name);
  view = name ? 'run' : 'new';
  writeAddress();
  look();
}

async function look() {
  clearTimeout(waiting);
  if (looking) { again = true; return; }
  if (!inSight()) { waiting = setTimeout(look, LOOK_BUSY_MS); return; }
  looking = true;
  let pause = LOOK_IDLE_MS;
  try {
    const seen = Object.fromEntries([...curveData].map(([name, data]) => [name, data.version]));
    state = await server.training_look({ run: openRun, compare, seen });
    token = state.token;
    if (desk.dataset.lost) { delete desk.dataset.lost; say('The server is back.'); }
    for (const [name, data] of Object.entries(state.curves)) curveData.set(name, data);
    if (state.more) again = true;
    await show();
    if (state.runs.some((run) => KINDS[run.kind][1] === 'busy')) pause = LOOK_BUSY_MS;
  } catch (error) {
    if (error instanceof TypeError && !/fetch|network|load/i.test(error.message)) console.error(error);
    desk.dataset.lost = 'yes';
    say('The server does not answer. Runs go on without it; this page comes back when it does.', 'error');
    pause = LOOK_LOST_MS;
  }
  looking = false;
  waiting = setTimeout(look, again ? 0 : pause);
  again = false;
}

async function show() {
  const names = state.runs.map((run) => run.name);
  if (!view) view = openRun && names.includes(openRun) ? 'run' : !openRun && names.length && state.runs.some((run) => KINDS[run.kind][1] === 'busy') ? 'run' : state.why ? 'run' : 'new';
  if (view === 'run' && !names.includes(openRun)) openRun = state.runs[0]?.name || '';
  if (view === 'run' && openRun && !state.run) { again = true; }
  compare = compare.filter((name) => names.includes(name));
  if (view === 'run' && !openRun && !state.why) view = 'new';
  const why = one('.tr-why');
  why.hidden = !state.why;
  setText(why, state.why);
  one('[data-do=new]').hidden = Boolean(state.why);
  showRuns();
  desk.dataset.view = view;
  formNode.hidden = view !== 'new';
  runNode.hidden = view !== 'run' || !state.run;
  if (view === 'new') await form.open();
  else if (state.run?.name === openRun) showRun();
}

function colourOf(name) {
  const place = [openRun, ...compare].indexOf(name);
  return place < 0 ? 'transparent' : runColour(place);
}

function showRun() {
  drawn = [openRun, ...compare].map((name) => ({ name, colour: colourOf(name) }));
  const rows = drawn.map((run) => ({ ...state.runs.find((row) => row.name === run.name), colour: run.colour }));
  page.show(state.run, rows, !state.why);
  page.charts.show();
}

function showRuns() {
  const shape = JSON.stringify([state.runs, openRun, compare, view, isDark()]);
  if (runsNode.dataset.shape === shape) return;
  runsNode.dataset.shape = shape;
  const focused = document.activeElement?.closest?.('.tr-runs') && document.activeElement.dataset.focus;
  if (!state.runs.length) {
    runsNode.replaceChildren(make('p', { className: 'tr-none' }, state.why ? 'No run has been recorded here.' : 'No run yet. The form is filled in for a short try: press Start below it.'));
    return;
  }
  const others = state.runs.map((run) => run.name).filter((name) => name !== openRun), all = compare.length >= Math.min(others.length, MOST_COMPARED);
  const toggle = state.runs.length > 2 && view === 'run' && make('button', { type: 'button', className: 'tr-all', data: { focus: 'all' }, onclick: () => { compare = all ? [] : others.slice(0, MOST_COMPARED); writeAddress(); look(); } }, all ? 'Compare none' : 'Compare all');
  runsNode.replaceChildren(...(toggle ? [toggle] : []), ...state.runs.map(runRow));
  if (focused) runsNode.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function runRow(run) {
  const isOpen = view === 'run' && run.name === openRun;
  const details = [run.recipe, run.best === null ? '' : `best ${numberText(run.best, 3)}°`].filter(Boolean).join(' · ');
  const steps = run.steps ? `${run.step.toLocaleString('en')} / ${run.steps.toLocaleString('en')}` : '';
  const open = make('button', { type: 'button', className: 'tr-row-open', 'aria-current': isOpen ? 'true' : undefined, onclick: () => go(run.name), data: { focus: `open ${run.name}` } },
    make('span', { className: 'tr-row-top' }, make('b', { title: run.name }, run.name), pill(run.kind)), make('small', {}, make('span', {}, details), make('span', {}, steps)));
  const bar = make('i', { className: 'tr-row-bar' });
  bar.style.width = `${run.steps ? (100 * run.step) / run.steps : 0}%`;
  const box = make('input', { type: 'checkbox', checked: compare.includes(run.name), disabled: isOpen, 'aria-label': `Compare with ${run.name}`, title: 'Draw its curves too', data: { focus: `with ${run.name}` }, onchange: () => {
    compare = box.checked ? [...compare, run.name] : compare.filter((name) => name !== run.name);
    if (view === 'new') { view = 'run'; openRun = compare[0]; compare = compare.slice(1); }
    writeAddress();
    look();
  } });
  const row = make('div', { className: `tr-row${isOpen ? ' is-open' : ''}`, data: { run: run.name, kind: run.kind } }, open, box, bar);
  row.style.setProperty('--key', colourOf(run.name));
  return row;
}

async function does(what, more = {}) {
  if (what === 'look') { look(); return; }
  if (what === 'evaluate' && !more.data) { askForData(more); return; }
  const message = { do: what, name: openRun, ...more };
  if (what === 'delete again') Object.assign(message, { do: 'delete', again: openRun });
  if (what === 'further') message.do = 'duplicate';
  if (['use', 'export'].includes(what)) say('The weights are being written …', 'busy');
  const answer = await ask(message);
  if (answer.error) { say(answer.error, 'error'); look(); return; }
  if (answer.ask) page.asked = answer.ask;
  else page.asked = null;
  say(answer.note || '');
  if (answer.download) make('a', { href: base + answer.download, download: '' }).click();
  if (answer.model) trigger('used', { model: answer.model });
  if (answer.values) {
    await form.open();
    view = 'new';
    form.fill(answer.values, answer.name);
    if (form.spec) openRun = '';
  } else if (answer.run !== undefined && answer.run !== openRun) {
    if (!answer.run) view = '';
    go(answer.run);
    if (!answer.run) view = state.runs.length > 1 ? 'run' : 'new';
    return;
  }
  writeAddress();
  look();
}

// By which protocol a checkpoint is to be measured, and in which folder its data set is.
async function askForData(more) {
  await form.open();
  if (!form.spec) return;
  const { protocols, sets } = form.spec, rootOf = (name) => sets.find((set) => set.name === protocols.find((one) => one[0] === name)[2])?.root || '';
  const root = make('input', { type: 'text', spellcheck: false, placeholder: 'folder of the data set' });
  const protocol = make('select', { onchange: () => { root.value = rootOf(protocol.value); } }, ...protocols.map(([name, title]) => make('option', { value: name }, title)));
  root.value = rootOf(protocol.value);
  const start = () => { box.remove(); does('evaluate', { ...more, protocol: protocol.value, data: root.value }); };
  const box = make('form', { className: 'tr-inline', onsubmit: (event) => { event.preventDefault(); start(); } }, make('b', {}, `Measure step ${more.step}`), make('label', {}, 'Protocol', protocol), make('label', {}, 'Folder', root), button('Measure', start, 'tr-primary'), button('Cancel', () => box.remove()));
  one('.tr-inline', runNode)?.remove();
  page.checkpoints.append(box);
  protocol.focus();
}

one('[data-do=new]').addEventListener('click', () => go(''));
document.addEventListener('visibilitychange', () => { if (inSight()) look(); });
const arrived = address();
if (arrived) { openRun = arrived.run; compare = arrived.compare; view = openRun ? 'run' : ''; }
look();
