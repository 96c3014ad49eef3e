// Curves on canvases: many runs in one chart, smoothed here, so that no choice asks the server.

const CHART_TITLES = {
  'train/loss_total': 'Loss', 'train/lr': 'Learning rate', 'train/images_per_s': 'Samples per second', 'train/waiting_share': 'Share of time waiting for data',
  'train/skipped_steps': 'Skipped steps', 'validation/geodesic_mean_deg': 'Rotation error, validation (°)',
  'system/cpu_busy': 'Processor (share in use)', 'system/ram_used_mb': 'Memory of the machine (MB)', 'system/process_ram_mb': 'Memory of the run (MB)',
  'system/gpu_used_mb': 'GPU memory (MB)', 'system/gpu_process_mb': 'GPU memory of the run (MB)',
};
const FIRST_CHARTS = ['train/loss_total', 'validation/geodesic_mean_deg', 'train/lr', 'train/images_per_s'];
const HIDDEN_CHARTS = ['system/ram_total_mb', 'system/gpu_total_mb'];
const curveData = new Map(); // name -> { version, series }
let drawn = []; // [{ name, colour }], the open run first
const settings = { chosen: kept.get('charts', FIRST_CHARTS), smooth: kept.get('smooth', 0), log: kept.get('log', false) };

function chartTitle(key) {
  if (CHART_TITLES[key]) return CHART_TITLES[key];
  const [kind, name] = [key.split('/')[0], key.slice(key.indexOf('/') + 1)];
  const words = name.replace(/_deg$/, ' (°)').replace(/_mm$/, ' (mm)').replace(/_px$/, ' (px)').replace(/_percent$/, ' (%)').replace(/_mb$/, ' (MB)').replaceAll('_', ' ');
  return kind === 'train' ? words.replace(/^loss /, 'Loss: ') : words[0].toUpperCase() + words.slice(1);
}
const chartOrder = (a, b) => {
  const rank = (key) => (FIRST_CHARTS.includes(key) ? FIRST_CHARTS.indexOf(key) : 10 + ['train', 'validation', 'system'].indexOf(key.split('/')[0]));
  return rank(a) - rank(b) || a.localeCompare(b);
};

function smoothed(values, strength) {
  if (!strength) return values;
  let mean = 0, weight = 0;
  return values.map((value) => {
    mean = strength * mean + (1 - strength) * value;
    weight = strength * weight + (1 - strength);
    return mean / weight;
  });
}
function niceTicks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) || raw;
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(Math.abs(tick) < step * 1e-6 ? 0 : tick);
  return ticks;
}

class Chart {
  constructor(key) {
    this.key = key;
    this.canvas = make('canvas', { role: 'img' });
    this.tip = make('div', { className: 'tr-tip', hidden: true });
    this.now = make('b', { className: 'tr-chart-now' });
    this.node = make('figure', { className: 'tr-chart', data: { key } }, make('figcaption', {}, make('span', {}, chartTitle(key)), this.now), this.canvas, this.tip);
    this.canvas.addEventListener('pointermove', (event) => this.point(event.offsetX));
    this.canvas.addEventListener('pointerleave', () => { this.at = null; this.tip.hidden = true; this.draw(); });
  }

  lines() {
    const found = [];
    for (const run of drawn) {
      const series = curveData.get(run.name)?.series[this.key];
      if (series?.[0].length) found.push({ ...run, x: series[0], raw: series[1], y: smoothed(series[1], settings.smooth) });
    }
    return found;
  }

  scale(lines, width, height) {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    const useLog = settings.log && lines.every((line) => line.raw.every((v) => v > 0));
    const up = useLog ? Math.log10 : (v) => v;
    for (const line of lines) {
      x0 = Math.min(x0, line.x[0]); x1 = Math.max(x1, line.x[line.x.length - 1]);
      for (const v of line.y) { const u = up(v); if (u < y0) y0 = u; if (u > y1) y1 = u; }
    }
    if (x0 === x1) { x0 -= 1; x1 += 1; }
    const margin = y1 > y0 ? (y1 - y0) * 0.06 : Math.abs(y0) * 0.1 || 1;
    [y0, y1] = [y0 - margin, y1 + margin];
    const [left, right, top, bottom] = [46, 8, 8, 20];
    return {
      x0, x1, y0, y1, left, top, right: width - right, bottom: height - bottom, useLog,
      px: (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right), py: (y) => height - bottom - ((up(y) - y0) / (y1 - y0)) * (height - top - bottom),
    };
  }

  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    if (!box.width) return;
    const [width, height] = [box.width, box.height];
    if (this.canvas.width !== Math.round(width * ratio)) { this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(height * ratio); }
    const g = this.canvas.getContext('2d'), style = getComputedStyle(desk);
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const lines = this.last = this.lines();
    this.node.classList.toggle('is-empty', !lines.length);
    if (!lines.length) { setText(this.now, ''); return; }
    const s = this.s = this.scale(lines, width, height);
    this.axes(g, s, style);
    g.save();
    g.beginPath();
    g.rect(s.left, s.top - 2, s.right - s.left + 4, s.bottom - s.top + 4);
    g.clip();
    for (const line of [...lines].reverse()) {
      if (settings.smooth && lines.length < 6) this.line(g, s, line.x, line.raw, line.colour, 0.22, 1);
      this.line(g, s, line.x, line.y, line.colour, lines.length > 12 ? 0.75 : 1, line === lines[0] ? 2 : 1.4);
    }
    g.restore();
    const newest = lines[0].y;
    setText(this.now, lines.length === 1 || lines[0].name === drawn[0].name ? numberText(newest[newest.length - 1]) : '');
    this.canvas.setAttribute('aria-label', `${chartTitle(this.key)}: ${numberText(newest[newest.length - 1])} at step ${lines[0].x[lines[0].x.length - 1]}`);
    this.node.dataset.points = String(lines[0].x.length);
    if (this.at !== null && this.at !== undefined) this.cross(g, s, style);
  }

  axes(g, s, style) {
    g.font = `11px ${style.fontFamily}`;
    g.fillStyle = style.getPropertyValue('--quiet');
    g.strokeStyle = style.getPropertyValue('--line');
    g.lineWidth = 1;
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    for (const tick of niceTicks(s.y0, s.y1, 5)) {
      const value = s.useLog ? 10 ** tick : tick, y = Math.round(s.bottom - ((tick - s.y0) / (s.y1 - s.y0)) * (s.bottom - s.top)) + 0.5;
      g.beginPath(); g.moveTo(s.left, y); g.lineTo(s.right, y); g.stroke();
      g.fillText(numberText(value, 3), s.left - 6, y);
    }
    g.textBaseline = 'top';
    g.textAlign = 'center';
    for (const tick of niceTicks(s.x0, s.x1, 4)) if (Number.isInteger(tick)) g.fillText(tick >= 10000 ? `${tick / 1000}k` : String(tick), Math.min(s.px(tick), s.right - 8), s.bottom + 6);
  }

  line(g, s, xs, ys, colour, alpha, width) {
    g.globalAlpha = alpha;
    g.strokeStyle = g.fillStyle = colour;
    g.lineWidth = width;
    g.lineJoin = 'round';
    g.beginPath();
    for (let i = 0; i < xs.length; i += 1) g[i ? 'lineTo' : 'moveTo'](s.px(xs[i]), s.py(ys[i]));
    g.stroke();
    if (xs.length < 12) for (let i = 0; i < xs.length; i += 1) { g.beginPath(); g.arc(s.px(xs[i]), s.py(ys[i]), width + 0.8, 0, 7); g.fill(); }
    g.globalAlpha = 1;
  }

  cross(g, s, style) {
    g.strokeStyle = style.getPropertyValue('--quiet');
    g.setLineDash([3, 3]);
    g.beginPath(); g.moveTo(s.px(this.at), s.top); g.lineTo(s.px(this.at), s.bottom); g.stroke();
    g.setLineDash([]);
  }

  point(offset) {
    if (!this.last?.length) return;
    const s = this.s, wanted = s.x0 + ((offset - s.left) / (s.right - s.left)) * (s.x1 - s.x0);
    const nearest = (xs) => { let i = 0; for (let j = 1; j < xs.length; j += 1) if (Math.abs(xs[j] - wanted) < Math.abs(xs[i] - wanted)) i = j; return i; };
    const i = nearest(this.last[0].x);
    this.at = this.last[0].x[i];
    this.tip.replaceChildren(make('span', {}, `step ${this.at.toLocaleString('en')}`));
    for (const line of this.last.slice(0, 10)) {
      const label = make('span', {}, this.last.length > 1 ? `${line.name} ` : '', make('b', {}, numberText(line.y[nearest(line.x)])));
      label.style.setProperty('--key', line.colour);
      this.tip.append(label);
    }
    this.tip.hidden = false;
    const x = s.px(this.at), right = x > (s.left + s.right) / 2;
    Object.assign(this.tip.style, { left: right ? '' : `${x + 10}px`, right: right ? `${this.canvas.clientWidth - x + 10}px` : '' });
    this.draw();
  }
}

class Charts {
  constructor() {
    this.grid = make('div', { className: 'tr-charts' });
    this.chips = make('div', { className: 'tr-chips' });
    this.empty = make('p', { className: 'tr-empty-line' }, 'Curves appear with the first line of the log.');
    const smooth = make('input', { type: 'range', min: 0, max: 0.98, step: 0.02, value: settings.smooth, 'aria-label': 'Smoothing', oninput: () => { settings.smooth = Number(smooth.value); kept.set('smooth', settings.smooth); this.draw(); } });
    const log = make('input', { type: 'checkbox', checked: settings.log, onchange: () => { settings.log = log.checked; kept.set('log', log.checked); this.draw(); } });
    this.picker = make('details', { className: 'tr-picker' }, make('summary', {}, 'Choose curves'), this.chips);
    this.node = card('Curves', this.picker, this.empty, this.grid);
    this.legend = make('div', { className: 'tr-legend' });
    this.node.insertBefore(this.legend, this.picker);
    this.node.head.append(make('div', { className: 'tr-tools' }, make('label', {}, 'Smooth', smooth), make('label', {}, log, 'Log scale')));
    this.charts = new Map();
    new ResizeObserver(() => this.draw()).observe(this.grid);
    new MutationObserver(() => this.draw()).observe(document.body, { attributes: true, attributeFilter: ['class'] });
  }

  choose(keys) { settings.chosen = keys; kept.set('charts', keys); this.show(); }

  show() {
    const keys = [...new Set(drawn.flatMap((run) => Object.keys(curveData.get(run.name)?.series || {})))].filter((key) => !HIDDEN_CHARTS.includes(key)).sort(chartOrder);
    this.empty.hidden = keys.length > 0;
    this.picker.hidden = !keys.length;
    const shape = JSON.stringify([keys, settings.chosen]);
    if (shape !== this.shape) this.build(keys, shape);
    const names = JSON.stringify(drawn);
    if (names !== this.names) {
      this.names = names;
      this.legend.hidden = drawn.length < 2;
      this.legend.replaceChildren(...drawn.map((run) => { const key = make('span', {}, run.name); key.style.setProperty('--key', run.colour); return key; }));
    }
    this.draw();
  }

  build(keys, shape) {
    this.shape = shape;
    const shown = keys.filter((key) => settings.chosen.includes(key));
    const box = (key) => make('label', { className: 'tr-chip' }, make('input', { type: 'checkbox', checked: settings.chosen.includes(key), onchange: (event) => this.choose(event.target.checked ? [...settings.chosen, key] : settings.chosen.filter((other) => other !== key)) }), chartTitle(key));
    this.chips.replaceChildren(button('All', () => this.choose(keys), 'tr-small'), button('The main four', () => this.choose(FIRST_CHARTS), 'tr-small'), ...keys.map(box));
    for (const [key, chart] of this.charts) if (!shown.includes(key)) { chart.node.remove(); this.charts.delete(key); }
    for (const key of shown) {
      if (!this.charts.has(key)) this.charts.set(key, new Chart(key));
      this.grid.append(this.charts.get(key).node);
    }
  }

  draw() { for (const chart of this.charts.values()) chart.draw(); }
}
