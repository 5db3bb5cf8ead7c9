/// Colours that people with any colour vision tell apart, light and dark; paper is always light.
let pageStyle = """
  :root { color-scheme: light dark;
    --ink: #1b1f24; --faint: #57606a; --paper: #ffffff; --rule: #d5dae0; --panel: #f5f7f9;
    --exo: #0069b4; --linux: #d55e00; --floor: #8a9099; --fourth: #a0317f; --fifth: #00805e; --sixth: #8a6d00; }
  @media (prefers-color-scheme: dark) { :root {
    --ink: #e4e8ec; --faint: #9aa4ae; --paper: #14181c; --rule: #39414a; --panel: #1c2228;
    --exo: #5cb8f2; --linux: #f0a050; --floor: #7d8791; --fourth: #e08ac6; --fifth: #4fcca6; --sixth: #d9c04a; } }
  @media print { :root { color-scheme: light;
    --ink: #000; --faint: #444; --paper: #fff; --rule: #bbb; --panel: #fff;
    --exo: #0069b4; --linux: #d55e00; --floor: #8a9099; --fourth: #a0317f; --fifth: #00805e; --sixth: #8a6d00; }
    nav { display: none; } section { break-before: page; } svg, tr, figure { break-inside: avoid; }
    .scroll { overflow: visible; } table { font-size: 7.5pt; } * { print-color-adjust: exact; } }
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
    font: 16px/1.5 system-ui, sans-serif; }
  h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--rule); }
  h3 { margin-bottom: .3rem; font-size: 1rem; }
  a { color: var(--exo); } nav a { margin-right: 1em; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; }
  dt { color: var(--faint); } dd { margin: 0; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .85rem; }
  th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
  th:first-child, td:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
  td:nth-child(2) { white-space: normal; color: var(--faint); min-width: 12rem; }
  thead th { background: var(--panel); } td.old, th.old { color: var(--faint); font-style: italic; }
  td { font-variant-numeric: tabular-nums; }
  td.loss { color: var(--linux); font-weight: 600; }
  tr:target td { background: var(--panel); }
  figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .85rem; }
  svg { width: 100%; height: auto; max-width: 860px; display: block; font: 11px system-ui, sans-serif; }
  .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
  .notes { font-size: .85rem; color: var(--faint); padding-left: 1.2rem; } .notes b { color: var(--ink); }
  text { fill: var(--ink); } text.tick, text.value { fill: var(--faint); } text.value { font-size: 9px; }
  .grid { stroke: var(--rule); stroke-width: 1; } .whisker { stroke: var(--ink); stroke-width: 1.2; }
  rect.exo, .dot.exo { fill: var(--exo); } rect.linux, .dot.linux { fill: var(--linux); }
  rect.floor, .dot.floor { fill: var(--floor); } .dot { fill-opacity: .55; }
  .range { stroke-width: 1; } .exo-line { stroke: var(--exo); } .linux-line { stroke: var(--linux); }
  .floor-line { stroke: var(--floor); }
  polyline { fill: none; stroke-width: 2; stroke: var(--ink); }
  polyline.exo { stroke: var(--exo); } polyline.linux { stroke: var(--linux); }
  polyline.floor { stroke: var(--floor); stroke-dasharray: 5 4; } polyline.fourth { stroke: var(--fourth); }
  polyline.fifth { stroke: var(--fifth); } polyline.sixth { stroke: var(--sixth); }
  .mark.exo { fill: var(--exo); } .mark.linux { fill: var(--linux); } .mark.floor { fill: var(--floor); }
  .key i { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
  """
