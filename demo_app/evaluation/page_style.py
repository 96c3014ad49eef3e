"""The style sheet of a protocol's page; of the family of the label check's page."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#171b24;--soft:#5c6577;--line:#e2e5ec;
--own:#eaf3fb;--mark:#155a94}
@media(prefers-color-scheme:dark){:root{--bg:#0f1218;--card:#181d27;--ink:#e8ebf2;--soft:#99a3b8;
--line:#2a3140;--own:#17283a;--mark:#94c1e4}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:40px 24px 72px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;line-height:1.3;margin:0 0 12px;letter-spacing:-.005em}
header .model{font-size:17px;font-weight:600;margin:0 0 10px;color:var(--mark)}
header .soft{max-width:80ch;margin:0}
header .warning{max-width:80ch;margin:14px 0 0;padding:10px 14px;border:1px solid var(--mark);
border-radius:10px;background:var(--own)}
.soft{color:var(--soft)}
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:12.5px;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:24px 0}
.tile,.panel,.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:14px 18px}
.tile b{display:block;font-size:26px;line-height:1.25;font-variant-numeric:tabular-nums}
.panel{overflow-x:auto}
.pad{padding:14px 18px}
.panel svg{display:block;max-width:100%;height:auto;border-radius:8px}
section{margin-top:40px}
section>p.soft{font-size:13.5px;max-width:86ch;margin:10px 2px 0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:8px 9px;border-top:1px solid var(--line);vertical-align:baseline}
thead th{border-top:0;font-size:12px;font-weight:600;color:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.name{min-width:140px}
td.source{font-size:12.5px;color:var(--soft);min-width:110px}
tr.own td{background:var(--own);font-weight:600}
tr.own td.source{font-weight:400}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:14px}
.card{margin:0;overflow:hidden}
.card img{display:block;width:100%;height:auto}
.card figcaption{padding:8px 12px 10px;font-size:13px;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 2px 12px;font-size:13px;
color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(120px,190px) 1fr;gap:8px 20px;margin:0}
dt{color:var(--soft);font-size:13.5px}
dd{margin:0;overflow-wrap:anywhere}
ul.notes{margin:0;padding-left:20px;max-width:92ch}
ul.notes li{margin:4px 0;overflow-wrap:anywhere}
footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--line);font-size:13px}
@media(max-width:620px){main{padding:24px 14px 48px}dl{grid-template-columns:1fr;gap:2px}
dd{margin-bottom:8px}th,td{padding:7px 9px}}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""
