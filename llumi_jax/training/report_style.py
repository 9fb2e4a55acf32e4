"""The report's look: calm, readable on a phone, light and dark as the reader's system asks."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f7f5f0; --card: #fffefb; --edge: #e6e1d6; --ink: #26312f; --quiet: #66716d; --grid: #e9e5db;
  --before: #b1762d; --before-tint: #f6e7cf; --after: #1f7a72; --after-tint: #d5ece7;
  --gm: #1f7a72; --im: #5b62a8; --notice: #8a4b12; --notice-tint: #fbeedb; --role: var(--gm);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181a; --card: #1b2123; --edge: #2c3538; --ink: #dfe6e3; --quiet: #98a5a1; --grid: #293134;
    --before: #dda75f; --before-tint: #45351d; --after: #66c2b5; --after-tint: #1d4541;
    --gm: #66c2b5; --im: #a3a9ea; --notice: #f0c48e; --notice-tint: #38291a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 68rem; margin: 0 auto; }
h1 { font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 .35rem; font-weight: 650; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 3.2rem 0 .3rem; font-weight: 650; }
h3 { font-size: 1rem; margin: 0; font-weight: 650; }
p { margin: .3rem 0 1rem; max-width: 44rem; }
p.full { max-width: none; margin-bottom: 1.6rem; }
.quiet { color: var(--quiet); }
.small { font-size: .875rem; }
code, pre { font-family: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; font-size: .84em; }
code { overflow-wrap: anywhere; }
.banner {
  background: var(--notice-tint); color: var(--notice); border-left: 4px solid currentColor; border-radius: .5rem;
  padding: .8rem 1.1rem; margin: 0 0 2rem; max-width: none; font-weight: 600;
}
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15.5rem), 1fr)); }
.grid.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
.card {
  background: var(--card); border: 1px solid var(--edge); border-radius: .8rem; padding: 1.1rem 1.2rem; min-width: 0;
}
.gm { --role: var(--gm); }
.im { --role: var(--im); }
.title { display: flex; align-items: baseline; gap: .55rem; flex-wrap: wrap; margin-bottom: .5rem; }
.title .quiet { margin-left: auto; }
.badge {
  color: var(--role); border: 1px solid currentColor; border-radius: 99px; padding: 0 .55rem; font-size: .75rem;
  font-weight: 650; letter-spacing: .03em; line-height: 1.5;
}
.big {
  font-size: 1.55rem; font-weight: 650; letter-spacing: -.02em; line-height: 1.3; font-variant-numeric: tabular-nums;
}
.big .from { color: var(--quiet); font-weight: 450; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .9rem; margin: .6rem 0 0; font-size: .875rem; }
dt { color: var(--quiet); }
dd { margin: 0; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
figure { margin: 0; min-width: 0; }
figcaption { display: flex; justify-content: space-between; gap: 1rem; font-size: .875rem; margin-bottom: .2rem; }
figcaption b { font-weight: 600; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
.stage + .stage { margin-top: 1rem; }
.curves {
  display: grid; gap: 1.4rem 1.8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr));
}
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.3rem; font-size: .875rem; margin: 0 0 1rem; padding: 0; list-style: none;
}
.legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .45rem; }
.legend i { border: 2px solid; }
.legend .is-before { color: var(--before); }
.legend .is-after { color: var(--after); background: currentColor; }
.scroll { overflow-x: auto; margin-top: .8rem; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .28rem 0 .28rem .6rem; border-top: 1px solid var(--grid); }
tbody tr { vertical-align: top; }
thead th { border: 0; color: var(--quiet); font-weight: 450; }
tbody th { font-weight: 450; }
th:first-child { text-align: left; padding-left: 0; }
.sample { margin-top: 1rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.post { color: var(--quiet); font-size: .94rem; max-height: 13.6em; overflow: auto; margin: 0 0 .8rem; }
.draft { border-left: 3px solid var(--edge); padding-left: .9rem; margin: 0 0 1rem; font-size: .94rem; }
.sides { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.sides + .sides { margin-top: 1.4rem; }
.side { border-top: 3px solid; padding-top: .5rem; min-width: 0; }
.side.is-before { border-color: var(--before); }
.side.is-after { border-color: var(--after); }
.label { font-size: .8rem; font-weight: 600; letter-spacing: .01em; color: var(--quiet); }
ins, del { text-decoration: none; border-radius: .2rem; padding: .05em .1em; }
ins, del { -webkit-box-decoration-break: clone; box-decoration-break: clone; }
del { background: var(--before-tint); }
ins { background: var(--after-tint); }
details { margin-top: 3rem; }
summary { cursor: pointer; font-weight: 650; font-size: 1.25rem; letter-spacing: -.01em; }
details.steps { margin-top: .8rem; }
details.steps summary { font-size: 1rem; }
details.steps dl { gap: .5rem .9rem; }
details.steps dd { text-align: left; white-space: pre-wrap; }
details pre { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.5; }
footer { margin-top: 3rem; font-size: .84rem; color: var(--quiet); }
:focus-visible { outline: 2px solid var(--role); outline-offset: 3px; border-radius: .2rem; }
@media (max-width: 30rem) { .card { padding: .9rem .8rem; } th, td { padding-left: .4rem; } }
@media print { .post { max-height: none; } .card, figure { break-inside: avoid; } }
"""
