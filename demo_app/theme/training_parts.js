// Small parts that all of the Training tab uses. Everything from the server is set as text, never as HTML.

const desk = element.querySelector('.tr-desk'), one = (selector, from = desk) => from.querySelector(selector);
const ON_LIGHT = ['#0f766e', '#c2410c', '#6d28d9', '#be185d', '#1d4ed8', '#a16207', '#15803d', '#b91c1c', '#0e7490', '#4d7c0f'];
const ON_DARK = ['#2dd4bf', '#fb923c', '#a78bfa', '#f472b6', '#60a5fa', '#facc15', '#4ade80', '#f87171', '#22d3ee', '#a3e635'];
const isDark = () => desk.closest('.dark') !== null;
const runColour = (place) => (isDark() ? ON_DARK : ON_LIGHT)[place % ON_LIGHT.length];
const KINDS = {
  new: ['Not started', 'quiet'], starting: ['Starting', 'busy'], running: ['Running', 'busy'], stopping: ['Stopping', 'busy'],
  finished: ['Finished', 'good'], stopped: ['Stopped', 'quiet'], failed: ['Failed', 'bad'], crashed: ['Crashed', 'bad'], killed: ['Killed', 'bad'],
};
const base = new URL(window.gradio_config?.root || document.baseURI, document.baseURI).href.replace(/[?#].*$/, '').replace(/\/?$/, '');

function make(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (name === 'data') Object.assign(node.dataset, value);
    else if (name in node && name !== 'list') node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const button = (text, onclick, kind = '', more = {}) => make('button', { type: 'button', className: `tr-button ${kind}`, textContent: text, onclick, ...more });

function numberText(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(Math.min(2, digits - 1)).replace(/\.?0*e\+?/, 'e');
  return Number(value.toPrecision(digits)).toLocaleString('en', { maximumFractionDigits: 6 });
}
function timeText(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${(whole / 86400).toFixed(1)} days`;
}
function agoText(unix_s) {
  if (!unix_s) return '';
  const ago = Math.max(0, Date.now() / 1000 - unix_s);
  if (ago < 60) return ago < 10 ? 'just now' : `${Math.round(ago)} s ago`;
  return `${ago < 3600 ? `${Math.floor(ago / 60)} min` : timeText(ago)} ago`;
}
const pill = (kind) => make('span', { className: `tr-pill tr-${(KINDS[kind] || KINDS.new)[1]}`, textContent: (KINDS[kind] || [kind])[0] });

function copyButton(text) {
  const copy = button('Copy', async () => {
    try { await navigator.clipboard.writeText(text()); copy.textContent = 'Copied'; } catch { copy.textContent = 'Not allowed'; }
    setTimeout(() => { copy.textContent = 'Copy'; }, 1200);
  }, 'tr-small');
  return copy;
}
function saveText(name, text) {
  const link = make('a', { href: URL.createObjectURL(new Blob([text], { type: 'application/json' })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 5000);
}
function card(title, ...content) {
  const head = make('div', { className: 'tr-card-head' }, make('h3', {}, title));
  const node = make('section', { className: 'tr-card' }, head, ...content);
  node.head = head;
  return node;
}
// A node's text is only touched when it differs, so that a selection survives.
const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };

let saying = 0;
function say(text, kind = 'note') {
  const said = one('.tr-said');
  clearTimeout(saying);
  said.hidden = !text;
  said.className = `tr-said tr-said-${kind}`;
  setText(said, text || '');
  if (text && kind === 'note') saying = setTimeout(() => { said.hidden = true; }, 6000);
}

// What a visitor chose stays in this browser; without storage it lasts as long as the page.
const kept = {
  get(name, otherwise) { try { return JSON.parse(localStorage.getItem(`trg-training-${name}`)) ?? otherwise; } catch { return otherwise; } },
  set(name, value) { try { localStorage.setItem(`trg-training-${name}`, JSON.stringify(value)); } catch { /* full or forbidden */ } },
};

let token = '';
async function ask(message) {
  const send = () => server.training_act({ ...message, token });
  try {
    let answer = await send();
    if (answer.stale) { // the server was started anew; another look brings its new token
      token = (await server.training_look({})).token;
      answer = await send();
    }
    return answer;
  } catch {
    return { error: 'The server does not answer. Runs go on without it; this page comes back when it does.' };
  }
}
