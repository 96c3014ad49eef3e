// The page of one run: how it is, its curves, pictures, checkpoints, log, and what can be done with it.

class RunPage {
  constructor(node, does) {
    Object.assign(this, { node, does, charts: new Charts(), asked: null, step: null, follows: true });
    this.head = make('header', { className: 'tr-head' });
    this.progress = make('div', { className: 'tr-progress', role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100 }, make('i'));
    this.line = make('p', { className: 'status tr-line' });
    this.trouble = make('div', { className: 'notice notice-error tr-trouble', hidden: true });
    this.tiles = make('div', { className: 'tr-tiles' });
    this.compare = make('div', { hidden: true });
    this.pictures = this.pictureCard();
    this.checkpoints = card('Checkpoints');
    this.logCard = card('Log');
    this.log = make('pre', { className: 'tr-log', tabIndex: 0 });
    this.logCard.append(this.log);
    this.about = card('What was asked for');
    node.replaceChildren(this.head, this.progress, this.line, this.trouble, this.tiles, this.compare, this.charts.node, this.pictures, this.checkpoints, this.logCard, this.about);
  }

  pictureCard() {
    this.picture = make('img', { alt: 'Validation crops with the predicted mesh and axes', className: 'tr-picture' });
    this.slider = make('input', { type: 'range', min: 0, step: 1, 'aria-label': 'Step of the picture', oninput: () => { this.follows = Number(this.slider.value) === this.previews.length - 1; this.showPicture(); } });
    this.pictureStep = make('output');
    const node = card('Predictions on the same validation crops', make('p', { className: 'hint' }, 'Green: the predicted mesh; red, green, blue: its axes; the number is the rotation error.'), this.picture);
    node.head.append(make('div', { className: 'tr-tools' }, this.slider, this.pictureStep));
    node.hidden = true;
    return node;
  }

  showPicture() {
    const step = this.previews[Number(this.slider.value)];
    setText(this.pictureStep, `step ${step.toLocaleString('en')}`);
    const source = `${base}/studio/training/preview?run=${encodeURIComponent(this.name)}&step=${step}`;
    if (this.picture.src !== source) this.picture.src = source;
    if (this.picture.dataset.step !== String(step)) this.picture.dataset.step = step;
  }

  show(run, rows, private_) {
    if (run.name !== this.name) { this.follows = true; this.asked = null; this.shapes = {}; this.picture.removeAttribute('src'); this.log.textContent = ''; }
    this.name = run.name;
    this.node.dataset.run = run.name;
    this.node.dataset.kind = run.kind;
    this.private = private_;
    this.once('head', [run.name, run.kind, run.kill_in_s === 0, this.asked, private_, run.checkpoints.length], () => this.showHead(run));
    this.showProgress(run);
    this.showTiles(run);
    this.once('trouble', [run.kind, run.message, run.log.slice(-12)], () => this.showTrouble(run));
    this.once('compare', rows, () => this.showCompare(rows));
    this.once('previews', run.previews, () => {
      this.previews = run.previews;
      this.pictures.hidden = !run.previews.length;
      if (!run.previews.length) return;
      this.slider.max = run.previews.length - 1;
      if (this.follows) this.slider.value = run.previews.length - 1;
      this.showPicture();
    });
    this.once('checkpoints', [run.name, run.checkpoints, run.evaluations, run.goes_on, private_], () => this.showCheckpoints(run));
    this.once('log', run.log, () => this.showLog(run));
    this.once('about', [run.facts, run.command], () => this.showAbout(run));
  }

  // Drawn anew only where it changed, so that the focus and a selection stay.
  once(part, shape, draw) {
    const text = JSON.stringify(shape);
    this.shapes ||= {};
    if (this.shapes[part] === text) return;
    this.shapes[part] = text;
    draw();
  }

  showHead(run) {
    const tools = make('div', { className: 'tr-tools' });
    const act = (text, what, kind = '', more = {}) => button(text, () => this.does(what), kind, { data: { do: what }, ...more });
    if (this.private && this.asked) {
      tools.append(make('span', { className: 'tr-ask', role: 'alert' }, this.asked), button('Delete it for good', () => this.does('delete again'), 'tr-danger', { data: { do: 'delete-again' } }), button('Keep it', () => { this.asked = null; this.does('look'); }));
    } else if (this.private) {
      if (run.goes_on) {
        tools.append(act('Stop', 'stop', 'tr-primary', { disabled: run.kind === 'stopping', title: 'Finishes the step, writes a checkpoint, ends' }));
        if (run.kill_in_s === 0) tools.append(act('Kill', 'kill', 'tr-danger', { title: 'At once; what came after the last checkpoint is lost' }));
      } else {
        if (run.kind !== 'finished') tools.append(act(run.checkpoints.length ? 'Resume' : 'Start again', 'resume', 'tr-primary', { title: 'Goes on from the newest checkpoint' }));
        tools.append(act('Duplicate', 'duplicate', '', { title: 'Its settings in the form of a new run' }), act('Delete', 'delete'));
      }
    }
    this.head.replaceChildren(make('div', { className: 'tr-name' }, make('h2', {}, run.name), pill(run.kind)), tools);
    if (this.asked) tools.querySelector('button').focus();
  }

  showProgress(run) {
    const share = run.steps ? Math.min(1, run.step / run.steps) : 0;
    this.progress.setAttribute('aria-valuenow', (share * 100).toFixed(1));
    this.progress.firstChild.style.width = `${share * 100}%`;
    const parts = [run.steps ? `step ${run.step.toLocaleString('en')} of ${run.steps.toLocaleString('en')}` : 'step 0'];
    if (run.left_s !== null) parts.push(`${timeText(run.left_s)} left`);
    if (run.kind === 'starting') parts.push('loading the program and the data; this takes some seconds');
    if (run.kind === 'stopping') parts.push(run.kill_in_s ? `finishing its step; killing is offered in ${Math.ceil(run.kill_in_s)} s` : 'it has not ended yet');
    if (!run.goes_on && run.since_s) parts.push(`ended ${agoText(run.since_s)}`);
    setText(this.line, parts.join(' · '));
  }

  showTiles(run) {
    const { train = {}, validation = {}, system = {} } = run.numbers;
    const gb = (mb) => `${(mb / 1024).toFixed(1)} GB`;
    const tiles = [
      ['Loss', numberText(train.loss_total)], ['Rotation error', validation.geodesic_mean_deg == null ? '–' : `${validation.geodesic_mean_deg.toFixed(2)}°`],
      ['Learning rate', numberText(train.lr, 3)], ['Samples / s', numberText(train.images_per_s, 3)], ['Time left', timeText(run.left_s)],
      ['Processor', system.cpu_busy == null ? '–' : `${Math.round(system.cpu_busy * 100)} %`, 'Share of the time of all processors that is in use, by whomever'],
      ['Memory', system.ram_used_mb == null ? '–' : gb(system.ram_used_mb), system.ram_total_mb ? `of ${gb(system.ram_total_mb)}; the run itself ${gb(system.process_ram_mb)}` : ''],
      ...(system.gpu_total_mb ? [['GPU memory', gb(system.gpu_used_mb), `of ${gb(system.gpu_total_mb)}`]] : []),
    ];
    if (this.tiles.children.length !== tiles.length) this.tiles.replaceChildren(...tiles.map(() => make('div', { className: 'tr-tile' }, make('small'), make('b'))));
    tiles.forEach(([title, value, more], i) => {
      const [name, number] = this.tiles.children[i].children;
      setText(name, title);
      setText(number, value);
      this.tiles.children[i].title = more || '';
    });
  }

  showTrouble(run) {
    const bad = ['failed', 'crashed', 'killed'].includes(run.kind);
    this.trouble.hidden = !bad;
    if (!bad) return;
    this.trouble.replaceChildren(make('b', {}, KINDS[run.kind][0] + '. '), run.message, run.log.length ? make('pre', { className: 'tr-last' }, run.log.slice(-12).join('\n')) : '');
    const last = one('.tr-last', this.trouble);
    if (last) last.scrollTop = last.scrollHeight;
  }

  showCompare(rows) {
    this.compare.hidden = rows.length < 2;
    if (rows.length < 2) return;
    const columns = [['Run', (r) => r.name], ['State', (r) => KINDS[r.kind][0]], ['Recipe', (r) => r.recipe], ['Data', (r) => r.data], ['Step', (r) => `${r.step.toLocaleString('en')} / ${r.steps.toLocaleString('en')}`], ['Batch', (r) => r.batch ?? '–'], ['Learning rate', (r) => numberText(r.lr, 3)], ['Best', (r) => numberText(r.best)], ['At step', (r) => r.best_step ?? '–']];
    const lowest = Math.min(...rows.map((r) => r.best ?? Infinity));
    const body = rows.map((row) => {
      const cells = columns.map(([, value], i) => make(i ? 'td' : 'th', i ? {} : { scope: 'row' }, String(value(row))));
      cells[0].style.setProperty('--key', row.colour);
      if (row.best === lowest) cells[7].className = 'is-best';
      return make('tr', {}, ...cells);
    });
    const table = make('table', { className: 'tr-table tr-compare' }, make('thead', {}, make('tr', {}, ...columns.map(([title]) => make('th', { scope: 'col' }, title)))), make('tbody', {}, ...body));
    this.compare.replaceChildren(card(`${rows.length} runs compared`, make('div', { className: 'tr-scroll' }, table)));
  }

  showCheckpoints(run) {
    const [head] = this.checkpoints.children;
    if (!run.checkpoints.length) {
      this.checkpoints.replaceChildren(head, make('p', { className: 'tr-empty-line' }, run.goes_on ? 'The first one comes with the first stop, improvement or interval.' : 'There is none.'));
      return;
    }
    const rows = run.checkpoints.map((point) => {
      const act = (text, what, more = {}) => button(text, () => this.does(what, { step: point.step, ...more }), 'tr-small', { data: { do: what, ...more } });
      const acts = this.private ? make('div', { className: 'tr-acts' }, act('Use in the Pose tab', 'use'), act('Evaluate', 'evaluate'), ...(run.goes_on ? [] : [act('Resume from here', 'branch')]), act('Train further', 'further'),
        act('safetensors', 'export', { kind: 'safetensors' }), ...(run.released ? [act('released layout', 'export', { kind: 'released' })] : []), act('ONNX', 'export', { kind: 'onnx' })) : '';
      return make('tr', { data: { step: point.step } }, make('th', { scope: 'row' }, `step ${point.step.toLocaleString('en')}`, point.best ? make('span', { className: 'tr-best', title: point.best }, 'best') : ''), make('td', {}, `${point.size_mb.toFixed(0)} MB`), make('td', {}, acts));
    });
    this.checkpoints.replaceChildren(head, make('div', { className: 'tr-scroll' }, make('table', { className: 'tr-table tr-points' }, make('tbody', {}, ...rows))), this.evaluations(run));
  }

  evaluations(run) {
    if (!run.evaluations.length) return '';
    const link = (one, file) => make('a', { href: `${base}/studio/training/report?run=${encodeURIComponent(run.name)}&name=${one.name}&file=${file}`, target: '_blank', rel: 'noopener' }, file);
    const words = { running: 'is being measured …', done: '', failed: 'failed: ' };
    return make('ul', { className: 'tr-evaluations' }, ...run.evaluations.map((one) => make('li', { data: { kind: one.kind } }, make('b', {}, `${one.protocol}, step ${one.step}`), ' ', words[one.kind], one.kind === 'failed' ? one.said : '', ...(one.kind === 'done' ? one.reports.flatMap((file) => [link(one, file), ' ']) : []))));
  }

  showLog(run) {
    const atEnd = this.log.scrollTop + this.log.clientHeight > this.log.scrollHeight - 24;
    this.logCard.hidden = !run.log.length;
    setText(this.log, run.log.join('\n'));
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  showAbout(run) {
    const [head] = this.about.children;
    const facts = make('dl', { className: 'tr-facts' }, ...run.facts.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]));
    this.about.replaceChildren(head, facts);
    if (run.command) this.about.append(make('div', { className: 'tr-command' }, make('code', {}, run.command), copyButton(() => run.command)));
    if (run.config) this.about.append(button('Download config.json', () => saveText(`${run.name}.json`, run.config), 'tr-small tr-fit'));
  }
}
