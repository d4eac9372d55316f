"""The look of the HTML report: one style sheet, light, dark, narrow and printed."""

COLOURS = 10
"""How many categories have a colour of their own; more begin again."""

PRINTED_ROWS = 6
"""How many rows of a long table go to paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b1f26; --soft: #59616e; --line: #dfe3e8; --grid: #edf0f3;
    --link: #0b5cad;
  --ok: #0a7a4b; --bad: #b3361b; --warn: #8a5a00;
  --c0: #0072b2; --c1: #e69f00; --c2: #009e73; --c3: #cc79a7; --c4: #56b4e9;
  --c5: #d55e00; --c6: #4b3f9e; --c7: #999933; --c8: #882255; --c9: #44aa99; --ca: #8b929c; --cu: #cdd3da;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --card: #1a1e25; --ink: #e8ebef; --soft: #a3acb8; --line: #303743; --grid: #262c36;
      --link: #7db8f5;
    --ok: #4fc491; --bad: #f0836a; --warn: #e0b050;
    --c0: #4aa3df; --c1: #f0b63c; --c2: #2fbf94; --c3: #e3a0c6; --c4: #9bd5f7;
    --c5: #f08a4b; --c6: #9a8df0; --c7: #c8c861; --c8: #d9709f; --c9: #83d6c9; --ca: #8d96a3; --cu: #4a525e;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 20px; line-height: 1.3; margin: 40px 0 2px; letter-spacing: -0.01em; }
h3 { font-size: 15px; line-height: 1.35; margin: 0 0 2px; color: var(--ink); }
p { margin: 0 0 10px; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 2px; }
.soft, figcaption, footer { color: var(--soft); font-size: 13.5px; }
nav { margin-top: 10px; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 14px; }
footer { padding-top: 24px; padding-bottom: 36px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 0; padding: 0; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; flex: 1 1 max(150px, calc(100% / var(--columns) - 12px)); }
.tile dt { color: var(--soft); font-size: 13px; }
.tile dd { margin: 0; font-size: 22px; line-height: 1.25; font-weight: 620; font-variant-numeric: tabular-nums; }
.tile dd small { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); line-height: 1.35; }
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; margin-top: 14px; }
.card { margin: 0; padding: 14px 16px 12px; min-width: 0; }
.wide-card { grid-column: 1 / -1; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 6px 0 4px; padding: 0;
  font-size: 13px; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 2.5px; margin-right: 6px;
  background: currentColor; }
svg { display: block; width: 100%; height: auto; margin-top: 4px; }
.narrow, .paper { display: none; }
.tick { font-size: 11.5px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.name { font-size: 13px; fill: var(--ink); }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: var(--grid); fill: none; } .axis { stroke: var(--soft); fill: none; opacity: .6; }
.fill { fill: currentColor; } .seam { stroke: var(--card); stroke-width: .8; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.c1, .line.c6 { stroke-dasharray: 7 4; } .line.c2, .line.c7 { stroke-dasharray: 2 4; }
.line.c3, .line.c8 { stroke-dasharray: 9 3 2 3; } .line.c4, .line.c9 { stroke-dasharray: 4 2; }
.hit { fill: transparent; } .hit:hover { fill: var(--ink); fill-opacity: .07; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); } .c3 { color: var(--c3); }
.c4 { color: var(--c4); }
.c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7 { color: var(--c7); } .c8 { color: var(--c8); }
.c9 { color: var(--c9); }
.ca { color: var(--ca); } .cu { color: var(--cu); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--soft); font-size: 13px; padding-bottom: 4px; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; font-size: 12.5px; color: var(--soft); border-bottom-color: var(--line); white-space: nowrap; }
tr:last-child > td, tr:last-child > th[scope=row] { border-bottom: 0; }
th .where { font-weight: 400; }
th[scope=row] { font-size: 14px; color: var(--ink); white-space: normal; border-bottom-color: var(--grid); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
.meter { display: block; height: 9px; min-width: 60px; border-radius: 5px; background: var(--grid); margin-top: 7px;
  overflow: hidden; }
.meter i { display: block; height: 100%; border-radius: 5px; background: currentColor; }
.runs th[scope=row] { min-width: 165px; }
.bar { width: 38%; } abbr { text-decoration: none; } .counts .swatch { margin-right: 7px; }
.scroll { overflow-x: auto; } .scroll table { overflow-wrap: normal; }
.issues td:nth-child(1) { width: 46%; } .issues td:nth-child(2) { min-width: 116px; overflow-wrap: break-word; }
.reason { color: var(--soft); font-size: 13.5px; }
.where { display: block; color: var(--soft); font-size: 12.5px; }
.status-ok { color: var(--ok); } .status-failed, .status-interrupted { color: var(--bad); }
.status-partial, .status-stopped_budget, .status-stopped_rate_limit, .status-locked, .status-running {
  color: var(--warn); }
details { margin-top: 8px; font-size: 13px; } summary { cursor: pointer; color: var(--soft); width: fit-content; }
details table { font-size: 13px; margin-top: 6px; } details .scroll { max-height: 320px; overflow: auto; }
.empty { border: 1px dashed var(--line); border-radius: 10px; padding: 16px 18px; margin-top: 14px;
  background: var(--card); }
code { font: 0.92em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media screen and (max-width: 760px) {
  .cards { grid-template-columns: minmax(0, 1fr); }
}
@media screen and (max-width: 560px) {
  main, header, footer { padding-left: 14px; padding-right: 14px; }
  h1 { font-size: 22px; }
  .tiles { gap: 8px; }
  .tile { padding: 9px 12px; flex-basis: calc(50% - 8px); } .tile dd { font-size: 20px; }
  .card { padding: 12px 12px 10px; }
  .wide { display: none; } .narrow { display: block; }
  .issues thead { display: none; }
  .issues, .issues tbody, .issues tr, .issues td { display: block; width: auto !important; }
  .issues tr { padding: 9px 0; border-bottom: 1px solid var(--line); } .issues tr:last-child { border-bottom: 0; }
  .issues td { border: 0; padding: 1px 0; text-align: left; }
  .issues td[data-name]::before { content: attr(data-name) ": "; color: var(--soft); font-size: 13px; }
  .bar { display: none; } th, td { padding-right: 10px; }
  .counts, .counts th[scope=row] { font-size: 13.5px; }
  .counts th, .counts td { padding-right: 7px; } .counts th[scope=row] { white-space: nowrap; }
  .counts .where { white-space: normal; }
}
@media print {
  :root { --page: #fff; }
  body { font-size: 11pt; } nav, details { display: none; }
  main, header, footer { max-width: none; padding-left: 0; padding-right: 0; }
  .tile, figure { break-inside: avoid; } tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .tile { padding: 8px 10px; flex-basis: calc(25% - 12px); } .tile dd { font-size: 13pt; }
  .wide-card .tick { font-size: 16px; } .wide-card .name { font-size: 17px; }
  .wide { display: block; } .narrow { display: none; }
  .card, .tile, .swatch, .meter, .meter i, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a { color: inherit; }
  .paper { display: block; }
  .issues tbody tr:nth-child(n+MORE), .runs tbody tr:nth-child(n+MORE) { display: none; }
}
""".replace("MORE", str(PRINTED_ROWS + 1))
