// Thumbnails with a keyboard: arrows move, Enter opens, f flags, Page Up and Page Down turn the page. Pictures are
// asked for one by one as they come into sight. Events: 'opened', 'flagged', 'turned'.

const grid = element.querySelector('.ds-grid'), pager = element.querySelector('.ds-pager'), empty = element.querySelector('.ds-empty');
const bar = element.querySelector('.ds-bar'), NOTHING = { rows: [], sorts: [], total: 0, page: 0, pages: 1, sentence: '', message: '' };
let state = null, focusAfter = null;

const root = new URL(window.gradio_config?.root || document.baseURI, document.baseURI).href.replace(/[?#].*$/, '').replace(/\/?$/, '/');
const address = (path) => root + path.replace(/^\//, '');
const cells = () => [...grid.querySelectorAll('.ds-cell')];
const columnsInRow = () => {
  const all = cells();
  const next = all.findIndex((cell) => cell.offsetTop > all[0].offsetTop);
  return next < 0 ? all.length : next;
};
const lastPage = () => Math.max(0, state.pages - 1);
const make = (tag, given, ...children) => { const node = Object.assign(document.createElement(tag), given); node.append(...children); return node; };

function cellOf(row) {
  const cell = document.createElement('button');
  cell.type = 'button';
  cell.className = 'ds-cell';
  cell.dataset.key = row.key;
  cell.tabIndex = -1;
  cell.title = [row.key, ...row.findings].join('\n');
  const picture = document.createElement('span');
  picture.className = 'ds-thumb';
  const image = document.createElement('img');
  image.loading = 'lazy';
  image.decoding = 'async';
  image.alt = '';
  image.src = address(row.thumb);
  image.onerror = () => { image.remove(); picture.dataset.missing = 'no picture'; };
  picture.append(image);
  const caption = document.createElement('span');
  caption.className = 'ds-caption';
  caption.append(make('b', { textContent: row.caption }), make('small', { textContent: row.value || row.detail, title: row.detail }));
  cell.append(picture, caption);
  if (row.findings.length) picture.dataset.findings = row.findings.length;
  mark(cell, row.flagged);
  return cell;
}

function mark(cell, on) {
  cell.classList.toggle('is-flagged', on);
  cell.setAttribute('aria-label', `${cell.dataset.key}${on ? ', flagged' : ''}`);
}

function focusCell(index) {
  const all = cells();
  const cell = all[Math.max(0, Math.min(index, all.length - 1))];
  if (!cell) return;
  for (const one of all) one.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus({ preventScroll: false });
}

function turn(page, focus = null) {
  page = Math.max(0, Math.min(Math.round(page) || 0, lastPage()));
  if (page === state.page) return;
  focusAfter = focus;
  send({ page });
}

function send(change) {
  grid.setAttribute('aria-busy', 'true');
  trigger('turned', { page: 0, sort: state.sort, descending: state.descending, overlay: state.overlay, ...change });
}

function open(cell) {
  for (const one of cells()) one.classList.toggle('is-open', one === cell);
  trigger('opened', { key: cell.dataset.key });
}

function flag(cell) {
  const on = !cell.classList.contains('is-flagged');
  mark(cell, on);
  trigger('flagged', { key: cell.dataset.key, on });
}

function onKey(event) {
  const all = cells(), here = all.indexOf(document.activeElement), wide = columnsInRow();
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide };
  if (event.key in steps) {
    const to = here + steps[event.key];
    if (to < 0) turn(state.page - 1, 'last');
    else if (to >= all.length) turn(state.page + 1, 'first');
    else focusCell(to);
  } else if (event.key === 'Home') focusCell(0);
  else if (event.key === 'End') focusCell(all.length - 1);
  else if (event.key === 'PageDown') turn(state.page + 1, 'first');
  else if (event.key === 'PageUp') turn(state.page - 1, 'first');
  else if ((event.key === 'f' || event.key === 'F') && !element.closest('.ds-read-only')) flag(all[here]);
  else return;
  event.preventDefault();
}

function drawPager() {
  const button = (text, page, ariaLabel) => make('button', { type: 'button', textContent: text, ariaLabel, disabled: page < 0 || page > lastPage(), onclick: () => turn(page) });
  const number = make('input', { type: 'number', min: 1, max: lastPage() + 1, value: state.page + 1, ariaLabel: 'Page' });
  number.onchange = () => turn(Number(number.value) - 1);
  const of = make('span', { textContent: `of ${state.pages.toLocaleString('en')}` });
  pager.replaceChildren(button('« First', state.page ? 0 : -1, 'First page'), button('‹ Previous', state.page - 1, 'Previous page'), number, of,
    button('Next ›', state.page + 1, 'Next page'), button('Last »', state.page < lastPage() ? lastPage() : -1, 'Last page'));
  pager.hidden = state.pages < 2;
}

function drawBar() {
  const children = [make('p', { className: 'ds-sentence', textContent: state.sentence })];
  if (state.sorts.length) {
    const sort = make('select', { ariaLabel: 'Sort by', onchange: () => send({ sort: sort.value }) }, ...state.sorts.map(([textContent, value]) => make('option', { textContent, value })));
    sort.value = state.sort;
    const way = make('button', { type: 'button', className: 'ds-way', textContent: state.descending ? '↓' : '↑', title: state.descending ? 'Largest first' : 'Smallest first', onclick: () => send({ descending: !state.descending }) });
    way.ariaLabel = way.title;
    const overlay = make('input', { type: 'checkbox', checked: state.overlay, onchange: () => send({ page: state.page, overlay: overlay.checked }) });
    children.push(make('label', { className: 'ds-overlay' }, overlay, 'Draw labels'), make('label', { className: 'ds-sort' }, 'Sort by ', sort), way);
  }
  bar.replaceChildren(...children);
  bar.hidden = !state.sentence && !state.sorts.length;
}

function show() {
  state = { ...NOTHING, ...(props.value ? JSON.parse(props.value) : {}) };
  empty.innerHTML = state.rows.length ? '' : state.message;
  empty.hidden = !empty.innerHTML;
  grid.replaceChildren(...state.rows.map(cellOf));
  grid.removeAttribute('aria-busy');
  grid.dataset.page = state.page;
  const all = cells();
  if (all.length) all[0].tabIndex = 0;
  for (const cell of all) cell.classList.toggle('is-open', cell.dataset.key === state.open);
  drawBar();
  drawPager();
  if (focusAfter) { focusCell(focusAfter === 'last' ? all.length - 1 : 0); focusAfter = null; }
}

grid.addEventListener('click', (event) => { const cell = event.target.closest('.ds-cell'); if (cell) open(cell); });
grid.addEventListener('keydown', onKey);
watch('value', show);
show();
