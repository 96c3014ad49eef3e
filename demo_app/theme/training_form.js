// The form of a new run, drawn from what the server says of its fields: one truth for defaults and sentences.

const STARTS = { facemesh: 'FaceMesh backbone', imagenet: 'ImageNet backbone', random: 'Random weights', file: 'A file of weights …' };
const STATE_WORDS = { found: 'found', bundled: 'bundled samples', missing: 'not found' };

class RunForm {
  constructor(node, onstarted) {
    Object.assign(this, { node, onstarted, inputs: new Map(), rows: [], validation: [], serial: 0 });
  }

  async open() {
    if (!this.spec) {
      const spec = await server.training_form({});
      if (spec.error) return;
      this.spec = spec;
      this.build();
      const draft = kept.get('draft', null);
      if (draft?.fields) this.fill(draft, draft.name);
      else if (this.spec.short) this.fill(this.spec.short, this.spec.name, 'Short try');
      else this.fill(this.recipe('trg-mini').values, this.spec.name);
    }
  }

  recipe(name) { return this.spec.recipes.find((one) => one.name === name); }

  build() {
    this.name = make('input', { type: 'text', id: 'tr-name', maxLength: 64, spellcheck: false, autocomplete: 'off', oninput: () => this.changed() });
    this.limit = make('input', { type: 'text', inputMode: 'numeric', id: 'tr-limit', placeholder: 'up to 800', oninput: () => { this.validation = []; this.changed(); } });
    this.node.replaceChildren(
      make('header', { className: 'tr-head' }, make('h2', {}, 'New run'), this.presets()),
      this.recipes(),
      make('div', { className: 'tr-two' }, this.labelled('Name', this.name, 'Of the run and its folder: letters, digits, dot, dash, underscore.'), this.startField()),
      this.dataCard(),
      make('div', { className: 'tr-groups' }, ...this.spec.groups.filter((group) => !group.folded).map((group) => card(group.title, ...group.paths.map((path) => this.field(path))))),
      ...this.spec.groups.filter((group) => group.folded).map((group) => this.folded(group)),
      this.bar(),
    );
  }

  presets() {
    const file = make('input', { type: 'file', accept: '.json,application/json', hidden: true, onchange: () => this.load(file) });
    this.saved = make('select', { 'aria-label': 'Saved configurations', onchange: () => this.take() });
    this.showSaved(this.spec.saved);
    const full = button('Full recipe', () => this.fill({ ...this.recipe(this.value('recipe')).values, data: this.data(), validation: [] }, this.name.value));
    return make('div', { className: 'tr-tools' },
      this.spec.short && button('Short try', () => this.fill(this.spec.short, this.name.value), '', { title: 'A few minutes on the bundled samples: shows that all works' }),
      full, button('Load a file …', () => file.click()), file, this.saved);
  }

  showSaved(names) {
    this.saved.hidden = !names.length;
    this.saved.replaceChildren(make('option', { value: '' }, 'Saved …'), ...names.map((name) => make('option', { value: name }, name)));
  }

  recipes() {
    const box = make('fieldset', { className: 'tr-recipes' }, make('legend', {}, 'Recipe'));
    for (const { name, words } of this.spec.recipes) {
      const input = make('input', { type: 'radio', name: 'tr-recipe', value: name, onchange: () => this.chooseRecipe(name) });
      box.append(make('label', {}, input, make('b', {}, name), make('span', {}, words)));
    }
    this.recipeBox = box;
    this.inputs.set('recipe', { get: () => box.querySelector(':checked')?.value || 'trg-mini', set: (value) => { for (const input of box.querySelectorAll('input')) input.checked = input.value === value; } });
    return box;
  }

  // What was not changed takes the new recipe's defaults.
  chooseRecipe(name) {
    const before = this.recipe(this.shown || 'trg-mini').values.fields, after = this.recipe(name).values.fields;
    for (const [path, input] of this.inputs) if (path !== 'recipe' && String(input.get()) === String(before[path])) input.set(after[path]);
    this.changed();
  }

  startField() {
    const select = make('select', { id: 'tr-start', onchange: () => { file.hidden = select.value !== 'file'; this.changed(); } }, ...Object.entries(STARTS).map(([value, text]) => make('option', { value }, text)));
    const file = make('input', { type: 'text', placeholder: 'path of .safetensors, state_dict.bin or a checkpoint .pt', 'aria-label': 'File of weights', hidden: true, spellcheck: false, oninput: () => this.changed() });
    this.inputs.set('start', {
      get: () => (select.value === 'file' ? file.value.trim() : select.value),
      set: (value) => { select.value = value in STARTS ? value : 'file'; file.value = value in STARTS ? '' : value; file.hidden = select.value !== 'file'; },
    });
    const backbone = this.field('backbone_file');
    this.backbone = backbone;
    return make('div', {}, this.labelled('Start', select, this.spec.fields.start.sentence, file), backbone);
  }

  dataCard() {
    const body = make('tbody');
    for (const set of this.spec.sets) body.append(this.dataRow(set));
    const head = make('tr', {}, ...['Data set', 'Folder', 'Weight', 'Part', 'At most'].map((text) => make('th', { scope: 'col' }, text)));
    this.body = body;
    return card('Data mix',
      make('div', { className: 'tr-scroll' }, make('table', { className: 'tr-table tr-data' }, make('thead', {}, head), body)),
      make('p', { className: 'hint' }, 'The weight multiplies the share that a set has by its size. “At most” takes only the first so many samples.'),
      this.labelled('Validation crops of each set', this.limit, 'They choose the best checkpoint and make the rotation error’s curve; never a test set. Empty: up to 800.'));
  }

  dataRow(set) {
    const changed = () => this.changed();
    const row = { set: set.name, title: set.title };
    row.on = make('input', { type: 'checkbox', id: `tr-set-${set.name}-${this.rows.length}`, disabled: !set.trainable, onchange: changed });
    row.root = make('input', { type: 'text', value: set.root, placeholder: 'folder on this computer', spellcheck: false, 'aria-label': `Folder of ${set.title}`, disabled: !set.trainable, oninput: () => { if (row.root.value) row.on.checked = true; changed(); } });
    row.weight = make('input', { type: 'text', inputMode: 'decimal', value: '1', 'aria-label': `Weight of ${set.title}`, disabled: !set.trainable, oninput: changed });
    row.split = make('select', { 'aria-label': `Part of ${set.title}`, disabled: !set.trainable, onchange: changed }, ...this.spec.splits.map((value) => make('option', { value }, value)));
    row.limit = make('input', { type: 'text', inputMode: 'numeric', placeholder: 'all', 'aria-label': `At most so many samples of ${set.title}`, disabled: !set.trainable, oninput: changed });
    row.usual = set.root;
    this.rows.push(row);
    const state = make('span', { className: `ds-state ds-state-${set.state}`, title: set.note }, set.trainable ? STATE_WORDS[set.state] : 'test set');
    const name = make('label', { htmlFor: row.on.id }, row.on, make('b', {}, set.title), state);
    const help = set.state === 'missing' ? make('a', { href: set.link, target: '_blank', rel: 'noopener noreferrer', className: 'tr-get' }, 'where to get it') : !set.trainable && make('small', {}, set.note);
    row.node = make('tr', { className: set.trainable ? '' : 'is-off' }, make('td', {}, name, help), ...(set.trainable ? [row.root, row.weight, row.split, row.limit].map((input) => make('td', {}, input)) : [make('td', { colSpan: 4 })]));
    return row.node;
  }

  labelled(title, input, sentence, ...more) {
    const hint = make('small', { id: `${input.id}-hint` }, sentence);
    input.setAttribute('aria-describedby', hint.id);
    return make('div', { className: 'tr-field' }, make('label', { htmlFor: input.id }, title), input, ...more, hint);
  }

  field(path) {
    const spec = this.spec.fields[path], id = `tr-${path.replaceAll('.', '-').replaceAll('_', '-')}`, title = spec.title[0].toUpperCase() + spec.title.slice(1);
    const changed = () => this.changed();
    if (spec.kind === 'switch') {
      const box = make('input', { type: 'checkbox', id, onchange: changed });
      this.inputs.set(path, { get: () => box.checked, set: (value) => { box.checked = Boolean(value); } });
      const hint = make('small', { id: `${id}-hint` }, spec.sentence);
      box.setAttribute('aria-describedby', hint.id);
      return make('div', { className: 'tr-field tr-switch' }, make('label', { htmlFor: id }, box, title), hint);
    }
    const input = spec.kind === 'choice'
      ? make('select', { id, onchange: changed }, ...spec.options.map((value) => make('option', { value }, value)))
      : make('input', { type: 'text', id, spellcheck: false, autocomplete: 'off', inputMode: { whole: 'numeric', number: 'decimal' }[spec.kind], placeholder: spec.may_be_empty ? 'none' : '', oninput: changed });
    this.inputs.set(path, { node: input, get: () => input.value, set: (value) => { input.value = value; } });
    return this.labelled(title, input, spec.sentence);
  }

  folded(group) {
    const details = make('details', { className: 'tr-fold', data: { recipe: group.recipe } }, make('summary', {}, group.title, make('small', {}, `${group.paths.length} settings`)));
    details.append(make('div', { className: 'tr-fields' }, ...group.paths.map((path) => this.field(path))));
    return details;
  }

  bar() {
    this.problems = make('ul', { className: 'tr-problems', hidden: true });
    this.estimate = make('p', { className: 'tr-estimate' });
    this.command = make('code');
    this.start = button('Start', () => this.begin(), 'tr-primary tr-start', { id: 'tr-begin' });
    const measure = button('Measure speed here', async () => {
      measure.disabled = true;
      setText(measure, 'Measuring …');
      const answer = await ask({ do: 'measure', values: this.values() });
      measure.disabled = false;
      setText(measure, 'Measure speed here');
      if (answer.error) say(answer.error, 'error');
      else { this.measured = answer.measured; this.check(); }
    }, 'tr-small');
    const save = button('Save', () => this.save(), '', { title: 'Keep this configuration on the server, under the name above' });
    const out = button('Download', () => saveText(`${this.name.value || 'run'}.json`, this.config || ''), '', { title: 'The configuration as a JSON file, for --config' });
    return make('footer', { className: 'tr-bar' }, this.problems,
      make('div', { className: 'tr-estimate-row' }, this.estimate, measure),
      make('div', { className: 'tr-command' }, this.command, copyButton(() => this.command.textContent)),
      make('div', { className: 'tr-bar-buttons' }, this.start, save, out));
  }

  value(path) { return this.inputs.get(path).get(); }

  data() {
    return this.rows.filter((row) => row.on.checked).map((row) => ({ dataset: row.set, root: row.root.value.trim(), weight: row.weight.value, split: row.split.value, limit: row.limit.value }));
  }

  values() {
    const fields = Object.fromEntries([...this.inputs].map(([path, input]) => [path, input.get()]));
    return { name: this.name.value.trim(), fields, data: this.data(), validation: this.validation, validation_limit: this.limit.value.trim(), measured: this.measured };
  }

  fill(values, name) {
    for (const [path, input] of this.inputs) if (path in values.fields) input.set(values.fields[path]);
    this.fillData(values.data || []);
    const limits = [...new Set((values.validation || []).map((part) => part.limit))];
    this.limit.value = values.validation_limit ?? (limits.length === 1 && limits[0] ? limits[0] : '');
    this.validation = values.validation || [];
    this.name.value = name || this.spec.name;
    this.measured = values.measured;
    this.changed();
  }

  fillData(parts) {
    for (const row of this.rows) { row.on.checked = false; row.taken = false; }
    for (const part of parts) {
      let row = this.rows.find((one) => one.set === part.dataset && !one.taken);
      if (!row) {
        const set = this.spec.sets.find((one) => one.name === part.dataset);
        this.body.append(this.dataRow(set));
        row = this.rows[this.rows.length - 1];
      }
      row.taken = row.on.checked = true;
      row.root.value = part.root || row.usual;
      row.weight.value = String(part.weight ?? 1);
      if (![...row.split.options].some((option) => option.value === part.split) && part.split) row.split.append(make('option', { value: part.split }, part.split));
      row.split.value = part.split || 'train';
      row.limit.value = part.limit ?? '';
    }
  }

  changed() {
    this.shown = this.value('recipe');
    const mini = this.shown === 'trg-mini';
    for (const fold of this.node.querySelectorAll('.tr-fold[data-recipe]')) fold.hidden = Boolean(fold.dataset.recipe) && (fold.dataset.recipe === 'trg-mini') !== mini;
    for (const row of this.rows) row.node.classList.toggle('is-chosen', row.on.checked);
    this.backbone.hidden = this.value('start') !== 'imagenet';
    const steps = this.inputs.get('train.steps').node;
    steps.disabled = Boolean(this.value('train.epochs'));
    kept.set('draft', this.values());
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.check(), 250);
  }

  async check() {
    const mine = this.serial += 1;
    const told = await ask({ do: 'check', values: this.values() });
    if (mine !== this.serial) return;
    if (told.error) { say(told.error, 'error'); return; }
    this.problems.hidden = !told.problems.length;
    this.problems.replaceChildren(...told.problems.map((text) => make('li', {}, text)));
    setText(this.estimate, told.estimate);
    setText(this.command, told.command);
    this.config = told.config;
    this.start.disabled = told.problems.length > 0;
    this.node.dataset.checked = String(mine);
    if (told.counting) this.waiting = setTimeout(() => this.check(), 1000);
  }

  async begin() {
    this.start.disabled = true;
    const answer = await ask({ do: 'begin', values: this.values() });
    this.start.disabled = false;
    if (answer.error) { say(answer.error, 'error'); this.check(); return; }
    kept.set('draft', null);
    this.spec = null;
    say(answer.note);
    this.onstarted(answer.run);
  }

  async save() {
    const answer = await ask({ do: 'keep', name: this.name.value, values: this.values() });
    say(answer.error || answer.note, answer.error ? 'error' : 'note');
    if (answer.saved) this.showSaved(answer.saved);
  }

  async take() {
    if (!this.saved.value) return;
    const answer = await ask({ do: 'take', name: this.saved.value });
    this.saved.value = '';
    this.taken(answer);
  }

  async load(file) {
    const given = file.files[0];
    file.value = '';
    if (!given) return;
    if (given.size > 1_000_000) { say('This file is too large for a configuration.', 'error'); return; }
    this.taken(await ask({ do: 'load', text: await given.text() }));
  }

  taken(answer) {
    say(answer.error || answer.note, answer.error ? 'error' : 'note');
    if (answer.values) this.fill(answer.values, this.name.value);
  }
}
