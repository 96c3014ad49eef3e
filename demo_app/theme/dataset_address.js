// The page's address follows what is shown; a reload or a shared address comes back to it. The tab and the sub tab in front
// are kept here, the rest comes as the value.

function write() {
  const { query, view } = window.trgDatasets;
  const text = query ? `?${query}${view && view !== 'browse' ? `&look=${view}` : ''}` : '';
  history.replaceState(history.state, '', location.pathname + text + location.hash);
}

window.trgDatasets ||= { query: '', view: new URLSearchParams(location.search).get('look') || 'browse' };
window.trgDatasets.look = (view) => { window.trgDatasets.view = view; if (window.trgDatasets.query) write(); };
window.trgDatasets.enter = () => { if (window.trgDatasets.query) write(); };
window.trgDatasets.leave = () => { if (window.trgDatasets.query) history.replaceState(history.state, '', location.pathname + location.hash); };

watch('value', () => { window.trgDatasets.query = props.value || ''; if (props.value) write(); });
