"""The look of card.html: the training report's, and what only a card has."""

from llumi_jax.training.report_style import CSS as REPORT_CSS

_CARD_CSS = """
.flow { display: grid; gap: .6rem; margin: 1.4rem 0 1.1rem; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 11rem), 1fr)); }
.flow li { background: var(--card); border: 1px solid var(--edge); border-radius: .8rem; padding: .8rem 1.1rem; }
.flow li.gm { box-shadow: inset 0 3px var(--gm); }
.flow .big { font-size: 1.9rem; }
.checks { display: flex; flex-wrap: wrap; gap: .45rem; margin: 0 0 1.6rem; padding: 0; list-style: none; }
.checks li { border: 1px solid var(--edge); border-radius: .6rem; padding: .15rem .7rem; font-size: .875rem; }
.checks li::before { content: "✓"; color: var(--gm); font-weight: 700; margin-right: .5rem; }
.checks li.warn::before { content: "!"; color: var(--notice); }
.checks li.warn { background: var(--notice-tint); border-color: var(--notice); color: var(--notice); }
.notice { background: var(--notice-tint); color: var(--notice); border-left: 4px solid currentColor;
  border-radius: .5rem; padding: .7rem 1.1rem .7rem 2.2rem; margin: 0 0 1.4rem; font-size: .94rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 0; padding: 0; list-style: none; }
nav { border-block: 1px solid var(--edge); padding: .5rem 0; font-size: .875rem; }
a { color: var(--gm); text-underline-offset: .18em; }
h2 { scroll-margin-top: 1rem; }
h3 { margin-bottom: .5rem; }
.two { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr));
  align-items: start; margin-top: 1rem; }
.two svg { max-width: 28rem; }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.plots figcaption { flex-direction: column; gap: 0; margin-bottom: .5rem; }
.plots figcaption span { color: var(--quiet); }
.legend .is-gm { color: var(--gm); background: currentColor; }
.legend .is-im { color: var(--im); }
.legend .is-rejected { color: var(--before); border-style: dashed; }
.legend .is-warn { color: var(--notice); background: currentColor; }
.legend .is-test { color: var(--quiet); }
.legend .is-band { border: 0; border-radius: .15rem; background: var(--grid); }
.scroll:first-child { margin-top: 0; }
caption { text-align: left; font-weight: 650; font-size: 1rem; padding-bottom: .3rem; }
tbody th { overflow-wrap: break-word; text-align: left; padding-left: 0; }
tfoot th, tfoot td { border-top: 2px solid var(--quiet); font-weight: 650; }
td { white-space: nowrap; }
td.words { white-space: normal; overflow-wrap: anywhere; }
tr.strong th, tr.strong td { color: var(--gm); font-weight: 650; }
tr.warns td:nth-child(2) { color: var(--notice); font-weight: 650; }
td:last-child.words { min-width: 5.5rem; }
.limits li { margin-bottom: .5rem; max-width: 44rem; }
@media print {
  @page { margin: 14mm; }
  :root {
    color-scheme: light;
    --paper: #fff; --card: #fff; --edge: #ccc; --ink: #111; --quiet: #555; --grid: #e4e4e4;
    --before: #b1762d; --before-tint: #f6e7cf; --after: #1f7a72; --after-tint: #d5ece7;
    --gm: #1f7a72; --im: #5b62a8; --notice: #8a4b12; --notice-tint: #fbeedb;
  }
  body { padding: 0; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav, details { display: none; }
  .scroll { overflow: visible; }
  .two { grid-template-columns: 1fr 1fr; }
  .plots { grid-template-columns: 1fr 1fr; }
  .card { padding: .7rem .8rem; }
  table { font-size: .78em; }
  h2 { break-after: avoid; margin-top: 1.6rem; }
  tr { break-inside: avoid; }
}
"""
CSS = REPORT_CSS + _CARD_CSS
