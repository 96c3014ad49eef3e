// The filters of the Datasets tab. The value says which columns there are and what is chosen; every choice is sent as
// 'filtered', and the server answers with the same form for the next state.

const form = element.querySelector('.ds-form');
let built = '', waiting = 0, state = null, sent = 0, serial = 0;

const make = (tag, given = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) name in node ? (node[name] = value) : node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const shortNumber = (value) => (value === null || value === undefined ? '' : Number(Number(value).toPrecision(4)).toString());

function send(delay_ms = 0) {
  clearTimeout(waiting);
  sent = serial += 1;
  waiting = setTimeout(() => trigger('filtered', { filters: collect(), serial }), delay_ms);
}

function collect() {
  const filters = { text: form.querySelector('[name=text]').value.trim(), ranges: {}, values: {}, findings: [], flagged: form.querySelector('[name=flagged]').value };
  for (const row of form.querySelectorAll('.ds-range')) {
    const [low, high] = [...row.querySelectorAll('input')].map((input) => (input.value.trim() === '' ? null : Number(input.value)));
    if (low !== null || high !== null) filters.ranges[row.dataset.column] = [low, high];
  }
  for (const box of form.querySelectorAll('.ds-values input:checked')) {
    if (box.name === 'findings') filters.findings.push(box.value);
    else (filters.values[box.name] ||= []).push(box.value);
  }
  return filters;
}

function rangeRow(column) {
  const input = (end, word) => make('input', {
    type: 'number', step: 'any', inputMode: 'decimal', placeholder: shortNumber(column[end]),
    'aria-label': `${column.title} ${word}`, name: `${column.name}-${end}`, onchange: () => send(),
  });
  const title = make('span', { className: 'ds-range-title', title: column.title }, column.title);
  if (column.unit) title.append(make('small', {}, ` ${column.unit}`));
  const row = make('div', { className: 'ds-range' }, title, input('low', 'from'), make('i', {}, '–'), input('high', 'to'));
  row.dataset.column = column.name;
  return row;
}

function valueList(name, title, options) {
  const list = make('div', { className: 'ds-values' });
  for (const option of options) {
    const box = make('input', { type: 'checkbox', name, value: option.value, onchange: () => send() });
    list.append(make('label', {}, box, make('span', { title: option.label }, option.label)));
  }
  return section(title, name, list);
}

function section(title, name, ...content) {
  const details = make('details', { className: 'ds-section', open: ['pose', 'split'].includes(name) }, make('summary', {}, title, make('b', { className: 'ds-count' })), ...content);
  details.dataset.name = name;
  return details;
}

function build(given) {
  form.replaceChildren();
  const search = make('input', { type: 'search', name: 'text', placeholder: 'Part of a sample’s name', 'aria-label': 'Part of a sample’s name', oninput: () => send(350) });
  const clear = make('button', { type: 'button', className: 'ds-clear', onclick: () => { fill({ text: '', ranges: {}, values: {}, findings: [], flagged: 'all' }, true); send(); } }, 'Clear all');
  const toggle = make('button', { type: 'button', className: 'ds-form-toggle', 'aria-expanded': 'false', onclick: () => {
    const closed = form.classList.toggle('is-closed');
    toggle.textContent = closed ? 'Filters ▸' : 'Filters ▾';
    toggle.setAttribute('aria-expanded', String(!closed));
  } }, 'Filters ▸');
  form.classList.add('is-closed');
  form.append(make('div', { className: 'ds-form-head' }, make('h3', {}, 'Filters'), toggle, clear), search);
  for (const group of given.groups) form.append(section(group.title, group.name, ...group.columns.map(rangeRow)));
  for (const list of given.values) if (list.options.length) form.append(valueList(list.name, list.title, list.options));
  const flagged = make('select', { name: 'flagged', 'aria-label': 'Flags', onchange: () => send() });
  for (const [value, text] of [['all', 'Flagged or not'], ['flagged', 'Flagged only'], ['not flagged', 'Not flagged']]) flagged.append(make('option', { value }, text));
  form.append(flagged);
}

function fill(filters, force) {
  const set = (input, value) => { if (force || input !== document.activeElement) input.value = value; };
  set(form.querySelector('[name=text]'), filters.text || '');
  for (const row of form.querySelectorAll('.ds-range')) {
    const [low, high] = filters.ranges[row.dataset.column] || [null, null];
    row.querySelectorAll('input').forEach((input, i) => set(input, shortNumber([low, high][i])));
    row.classList.toggle('is-set', low !== null || high !== null);
  }
  for (const box of form.querySelectorAll('.ds-values input')) {
    box.checked = (box.name === 'findings' ? filters.findings : filters.values[box.name] || []).includes(box.value);
  }
  form.querySelector('[name=flagged]').value = filters.flagged;
  for (const details of form.querySelectorAll('.ds-section')) {
    const count = details.querySelectorAll('.is-set, .ds-values input:checked').length;
    details.querySelector('.ds-count').textContent = count || '';
    if (count) details.open = true;
  }
  const any = filters.text || filters.flagged !== 'all' || form.querySelector('.is-set, .ds-values input:checked');
  form.querySelector('.ds-clear').disabled = !any;
}

function show() {
  if (!props.value) { form.replaceChildren(); built = ''; return; }
  state = JSON.parse(props.value);
  const shape = JSON.stringify([state.dataset, state.groups, state.values]);
  const isNew = shape !== built;
  if (isNew && built && JSON.parse(built)[0] !== state.dataset) sent = 0;
  if (isNew) { build(state); built = shape; }
  if (state.serial !== null && state.serial >= sent) sent = 0;
  if (!sent) fill(state.filters, isNew); // an answer to an older choice would take the newer one away
}

form.addEventListener('submit', (event) => { event.preventDefault(); send(); });
watch('value', show);
show();
