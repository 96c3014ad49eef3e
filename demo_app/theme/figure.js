// A Plotly figure that keeps the visitor's view when it is updated (gr.Plot starts it anew) and follows the
// page's light or dark theme. Its value is the figure's JSON; Plotly itself is served by this server.

const plot = element.querySelector('.figure-plot'), message = element.querySelector('.figure-message');

function plotlyAddress() {
  const base = new URL(window.gradio_config?.root || document.baseURI, document.baseURI);
  return base.href.replace(/[?#].*$/, '').replace(/\/$/, '') + '/studio/plotly.min.js';
}

function loadPlotly() {
  if (window.Plotly) return Promise.resolve();
  window.trgPlotly ||= new Promise((done, failed) => {
    const script = document.createElement('script');
    script.src = plotlyAddress();
    script.onload = done;
    script.onerror = () => { window.trgPlotly = null; failed(new Error('The drawing library could not be loaded: reload the page.')); };
    document.head.append(script);
  });
  return window.trgPlotly;
}

function themed(layout) {
  const style = getComputedStyle(element);
  const ink = style.getPropertyValue('--body-text-color').trim() || '#334155';
  const line = style.getPropertyValue('--border-color-primary').trim() || '#cbd5e1';
  const axis = (given) => ({ ...given, gridcolor: line, zerolinecolor: line, linecolor: line, color: ink });
  const result = { ...layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { ...layout.font, color: ink, family: style.fontFamily } };
  delete result.template;
  delete result.width;
  delete result.height;
  for (const key of Object.keys(result)) {
    if (/^[xy]axis\d*$/.test(key)) result[key] = axis(result[key]);
    if (/^scene\d*$/.test(key)) {
      const scene = { ...result[key], bgcolor: 'rgba(0,0,0,0)' };
      for (const name of ['xaxis', 'yaxis', 'zaxis']) scene[name] = { ...axis(scene[name] || {}), showbackground: false };
      result[key] = scene;
    }
  }
  return result;
}

let latest = 0, listens = false;

// A click on a point that says which values it stands for, of the columns that the figure's meta names.
function pick(event) {
  const columns = plot.layout.meta?.columns, bounds = event.points[0]?.customdata;
  if (columns && bounds) trigger('picked', { columns: [...columns], bounds: [...bounds] });
}

async function show() {
  const mine = ++latest;
  if (!props.value) {
    if (plot.data) window.Plotly.purge(plot);
    listens = false;
    element.dataset.ready = 'false';
    return;
  }
  try {
    await loadPlotly();
    if (mine !== latest) return;
    const figure = JSON.parse(props.value);
    const settings = { responsive: true, displaylogo: false, displayModeBar: 'hover', modeBarButtonsToRemove: ['select2d', 'lasso2d'] };
    await window.Plotly.react(plot, figure.data, themed(figure.layout || {}), settings);
    if (!listens) plot.on('plotly_click', pick);
    listens = true;
    message.textContent = '';
    element.dataset.ready = 'true';
    element.dataset.updates = String(Number(element.dataset.updates || 0) + 1);
  } catch (error) {
    message.textContent = error.message;
  }
}

watch('value', show);
new MutationObserver(() => plot.data && window.Plotly.relayout(plot, themed(plot.layout)))
  .observe(document.body, { attributes: true, attributeFilter: ['class'] });
show();
