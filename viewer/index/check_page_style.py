"""The style sheet of the report's page."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#171b24;--soft:#5c6577;--line:#e2e5ec;
--bad:#b3261e;--bad-bg:#fdeceb;--ok:#18794e;--ok-bg:#e7f5ee;--bar:#c2410c;--hist:#9aa5bb;
--chip:#eef0f5}
@media(prefers-color-scheme:dark){:root{--bg:#0f1218;--card:#181d27;--ink:#e8ebf2;--soft:#99a3b8;
--line:#2a3140;--bad:#ff8a80;--bad-bg:#3a1c1c;--ok:#5fd39b;--ok-bg:#13301f;--bar:#fb923c;
--hist:#5b667d;--chip:#232a37}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:40px 24px 72px}
a{color:inherit}
h1{font-size:28px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:20px;line-height:1.3;margin:0;letter-spacing:-.005em}
.soft{color:var(--soft)}
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:12.5px;overflow-wrap:anywhere}
.verdict{display:inline-block;margin:18px 0 0;padding:7px 14px;border-radius:8px;font-weight:600}
.verdict.bad{background:var(--bad-bg);color:var(--bad)}
.verdict.ok{background:var(--ok-bg);color:var(--ok)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:24px 0}
.tile,.panel,.finding{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:14px 18px}
.tile b{display:block;font-size:26px;line-height:1.25;font-variant-numeric:tabular-nums}
.panel{margin:14px 0 36px;overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:9px 16px;border-top:1px solid var(--line);vertical-align:middle}
thead th{border-top:0;font-size:12px;font-weight:600;color:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.n.bad{font-weight:700;color:var(--bad)}
tr.quiet td{color:var(--soft)}
td.name{min-width:200px;font-weight:500}
tr.quiet td.name{font-weight:400}
td.unit{font-size:12.5px;color:var(--soft)}
td svg{display:block}
.none{padding:12px 16px;margin:0;border-top:1px solid var(--line);color:var(--soft);
font-size:13.5px}
section{margin-top:44px}
.head{display:flex;align-items:baseline;gap:12px;flex-wrap:wrap}
.chip{background:var(--bad-bg);color:var(--bad);border-radius:99px;padding:1px 11px;font-size:13px;
font-weight:600;white-space:nowrap}
.chip.plain{background:var(--chip);color:var(--soft)}
.meaning{max-width:78ch;margin:6px 0 16px;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(232px,1fr));gap:14px}
.finding{overflow:hidden;display:flex;flex-direction:column}
.finding.two{grid-column:span 2}
.views{display:flex;background:#1c1c1c}
.views figure{margin:0;flex:1 1 0;min-width:0;position:relative}
.views figure+figure{border-left:2px solid var(--card)}
.views img{display:block;width:100%;aspect-ratio:1;object-fit:cover}
.views .blank{aspect-ratio:16/7;display:grid;place-items:center;color:#9aa0ab;font-size:13px;
text-align:center;padding:12px}
.views.has-picture .blank{aspect-ratio:1}
.views figcaption{position:absolute;left:6px;top:6px;background:rgba(12,14,20,.72);color:#fff;
font-size:11px;line-height:1;padding:4px 7px;border-radius:5px}
.facts{padding:10px 14px 13px;display:grid;gap:3px}
.facts b{font-size:16px;font-variant-numeric:tabular-nums}
.facts>*{min-width:0;overflow-wrap:anywhere}
.facts .soft{font-size:13px}
.more{margin:12px 0 0;font-size:13.5px}
ul.notes{margin:14px 0 0;padding-left:20px;max-width:86ch}
ul.notes li{margin:4px 0}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:-24px 2px 0;font-size:13px;
color:var(--soft)}
footer{margin-top:56px;padding-top:16px;border-top:1px solid var(--line);font-size:13px}
@media(max-width:620px){main{padding:24px 14px 48px}.finding.two{grid-column:auto}
th,td{padding:8px 10px}.wide{display:none}}
@media print{body{background:#fff}.finding{break-inside:avoid}}
"""
