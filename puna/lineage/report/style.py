"""Colours, type and the little script of the page; everything inline, nothing fetched.

Text reaches a contrast of 4.5 to 1 on its ground, the chart colours 3 to 1, in both themes (checked in the tests).
The script only sorts tables; the page says all it has to say without it.
"""

LIGHT = {
    "paper": "#f7f5f0", "card": "#ffffff", "ink": "#1d2420", "quiet": "#5a635d", "rule": "#e3dfd5", "grid": "#ebe8e0",
    "shade": "#f1eee6", "limit": "#a9a698", "link": "#1f6b4f", "good": "#1d7048", "bad": "#b03a2e", "open": "#85600f",
    "good-soft": "#e9f4ec", "bad-soft": "#fbecea", "open-soft": "#faf3e0",
    "c0": "#2c7d5b", "c1": "#b9771b", "c2": "#3d72ad", "c3": "#8f4f86", "c4": "#b5503c", "c5": "#68707a",
    "c6": "#17808a", "c7": "#77771f",
    "hill-1": "#e6e4d6", "hill-2": "#d5dcc9", "hill-3": "#bdcfb8",
}  # fmt: skip
DARK = {
    "paper": "#121714", "card": "#1a211d", "ink": "#e6ebe6", "quiet": "#9daba2", "rule": "#2c3630", "grid": "#27302b",
    "shade": "#212a25", "limit": "#66726b", "link": "#7fd0ab", "good": "#6fce99", "bad": "#f0897b", "open": "#e0b558",
    "good-soft": "#1b3326", "bad-soft": "#3a2320", "open-soft": "#352c17",
    "c0": "#54b78b", "c1": "#dca044", "c2": "#74a9e0", "c3": "#c58abc", "c4": "#e0806b", "c5": "#98a1ab",
    "c6": "#5cc3cc", "c7": "#c3c25a",
    "hill-1": "#18201b", "hill-2": "#1b2820", "hill-3": "#203328",
}  # fmt: skip

RIDGES = (
    "M0,84 C110,70 190,30 300,44 C420,60 470,10 590,20 C700,30 760,66 860,50 C980,30 1080,20 1200,46 V120 H0 Z",
    "M0,100 C140,84 240,70 380,80 C520,90 600,58 740,62 C880,66 980,92 1200,70 V120 H0 Z",
    "M0,112 C200,98 320,104 500,102 C700,99 820,84 960,92 C1080,98 1140,104 1200,98 V120 H0 Z",
)


def variables(theme: dict[str, str]) -> str:
    """The theme as CSS custom properties."""
    return "".join(f"--{name}:{value};" for name, value in theme.items())


COLOURS = "".join(
    f".fill.c{i}{{fill:var(--c{i})}}.curve.c{i},.interval.c{i},.sampled.c{i}{{stroke:var(--c{i})}}.dot.c{i},.end.c{i}{{fill:var(--c{i})}}"
    for i in range(8)
)

RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC","PingFang SC",sans-serif;
  overflow-wrap:break-word}
main,.inner,nav,footer{max-width:1120px;margin:0 auto;padding:0 24px}
h1,h2,h3,h4,p,dl,dd{margin:0}
h1{font-size:44px;line-height:1.1;letter-spacing:-.02em;font-weight:650}
h2{font-size:26px;letter-spacing:-.015em;font-weight:640;margin-top:64px}
h3{font-size:19px;font-weight:640}
h4{font-size:15px;font-weight:620;margin-bottom:12px}
small{font-size:13px;color:var(--quiet);font-weight:400}
code,.print{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88em}
a{color:var(--link);text-underline-offset:3px;text-decoration-thickness:1px}
td a,dd a,.large a,.costs a,h4 a,.marks a{color:inherit;text-decoration:none}
td a:hover,dd a:hover,.large a:hover,.costs a:hover,h4 a:hover,a:focus-visible{text-decoration:underline}
:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:3px}
.quiet,.lead,.note{color:var(--quiet)}
.lead{margin:2px 0 20px}
.note{font-size:14px;margin-top:10px}
.problem{color:var(--bad);font-size:14px}
.top{position:relative;overflow:hidden;border-bottom:1px solid var(--rule)}
.top .inner{position:relative;z-index:1;padding-top:52px;padding-bottom:112px}
.top p{max-width:62ch;margin-top:10px;color:var(--quiet)}
.top .kicker{margin:0 0 6px;font-size:13px;letter-spacing:.09em;text-transform:uppercase;color:var(--link);
  font-weight:600}
.top dl{display:flex;flex-wrap:wrap;gap:14px 40px;margin-top:30px}
dt{font-size:13px;color:var(--quiet)}
dd{font-weight:580;font-variant-numeric:tabular-nums}
.top dd{font-size:17px}
.hills{position:absolute;left:0;bottom:0;width:100%;height:92px}
.ridge-1{fill:var(--hill-1)}.ridge-2{fill:var(--hill-2)}.ridge-3{fill:var(--hill-3)}
nav{display:flex;flex-wrap:wrap;gap:4px 22px;padding-top:14px;font-size:14.5px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
main section:first-child h2{margin-top:40px}
.card,.sample{background:var(--card);border:1px solid var(--rule);border-radius:14px;padding:24px}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:560}
.value{text-align:right}
.figure{min-width:0}
svg{display:block}
svg text{font-size:12px;fill:var(--quiet);font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid);stroke-width:1}
.axis{stroke:var(--limit);stroke-width:1}
.shade{fill:var(--shade)}
.limit{stroke:var(--limit);stroke-width:1;stroke-dasharray:3 3}
.whisker line{stroke:var(--ink);stroke-width:1.5}
.interval line{stroke-width:2.5;stroke-linecap:round}
.interval{stroke-width:2.5}
.dot{stroke:var(--card);stroke-width:2.5}
.mark{fill:var(--card);stroke:var(--quiet);stroke-width:1.7}
.curve{fill:none;stroke-width:2;stroke-linejoin:round}
.curve.c1{stroke-dasharray:7 3}.curve.c2{stroke-dasharray:2 3}.curve.c3{stroke-dasharray:10 3 2 3}
.curve.c4{stroke-dasharray:5 2}.curve.c5{stroke-dasharray:1 2}
.curve.c6{stroke-dasharray:12 4}.curve.c7{stroke-dasharray:6 2 1 2}
.heat-cell{stroke:var(--card);stroke-width:1.5}
.end{stroke:var(--card);stroke-width:1.5}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13.5px;color:var(--quiet);margin-bottom:10px}
.legend span{display:inline-flex;align-items:center;gap:6px;min-width:0}
.legend svg,.who svg,.marks svg{flex:none}
.legend b{color:var(--ink);font-weight:580}
.headlines{padding:6px 28px}
.task{display:grid;grid-template-columns:250px minmax(0,1fr);gap:12px 36px;padding:26px 0;align-items:center}
.task+.task{border-top:1px solid var(--rule)}
.task h3{font-size:16px}
.large{font-size:46px;line-height:1.15;font-weight:650;letter-spacing:-.025em;font-variant-numeric:tabular-nums}
.gain{font-size:14px;color:var(--quiet)}.gain b{color:var(--good)}.gain.less b{color:var(--bad)}
.words .quiet{font-size:14px}
.chart th,.chart td{padding:0;vertical-align:middle;font-size:14.5px}
.chart th{font-weight:480;padding-right:14px}
.chart .value{padding-left:14px;white-space:nowrap}
.chart .value small,.dots th small{display:block;line-height:1.25}
.dots{table-layout:fixed}.dots th{width:150px}.dots td.value{width:150px;font-weight:600}
.dots td.marks{font-weight:400;font-size:12.5px;color:var(--quiet)}
.dots th,.dots td.value{line-height:1.25}
.marks span{display:flex;align-items:center;justify-content:flex-end;gap:5px;height:19px;white-space:nowrap}
.bars th{width:34%;max-width:240px;line-height:1.3}.bars td.value,.funnel .value{width:1%}
.bars .first>*{padding-top:9px!important}.bars td.plot,.bars th,.bars td.value{padding-top:3px;padding-bottom:3px}
.funnel th[scope=row]{width:26%}.funnel .value{padding-left:26px}.chart .columns th.value{padding-right:0}
.funnel tr:not(.columns)>*{padding-top:4px;padding-bottom:4px}
.columns th{font-size:13px;color:var(--quiet);padding-bottom:6px}
.plane{padding:8px 12px 26px 48px}
.axis-name{font-size:13px;color:var(--quiet);margin-bottom:4px}
.axis-name.below{text-align:right;margin:-4px 12px 8px}
.lines .legend{margin:0}
.results{display:grid;gap:16px;grid-template-columns:minmax(0,1fr)}
.headlines>.note{border-top:1px solid var(--rule);padding:14px 0}
.passk h4{margin:18px 0 2px}.passk .legend>span{flex-wrap:wrap;column-gap:6px}
.legend a{color:inherit;text-decoration:none}.legend a:hover{text-decoration:underline}
.sampled .span{stroke-width:1.7;stroke-opacity:.8}
.stairs{margin-top:4px}.narrow-only{display:none}
.steps{padding-left:48px}.feet{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(0,1fr);padding-left:48px;
  margin-top:8px;font-size:13.5px;line-height:1.25;text-align:center}
.feet div{padding:0 3px}.feet a,.treads a{color:inherit;text-decoration:none}.feet small{display:block;font-size:12px}
.body{fill:var(--c0);fill-opacity:.1}
.step .tread,.step .riser{stroke:var(--c0);stroke-width:2.5}.step .riser{stroke-width:1.5}
.step .span,.step .span line{stroke:var(--c0);stroke-width:2;stroke-linecap:round}
.point{fill:var(--c0);stroke:var(--card);stroke-width:1.5}
.step.undone .tread,.step.undone .riser{stroke:var(--bad);stroke-width:1.7;stroke-dasharray:4 3}
.step.undone .standing{stroke:var(--c0);stroke-width:2.5;stroke-dasharray:none}
.step.undone .span,.step.undone .span line{stroke:var(--bad)}.step.undone .point{fill:var(--card);stroke:var(--bad)}
.stairs text{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.step text.number{font-size:13.5px;font-weight:620;fill:var(--ink)}
.step text.better{fill:var(--good);font-weight:600}.step text.worse{fill:var(--bad);font-weight:600}
small.better{color:var(--good);font-weight:600}small.worse{color:var(--bad);font-weight:600}
.treads td,.treads th{padding:0;vertical-align:middle;line-height:1.2}.treads svg{margin:0}
.treads th{width:92px;padding-right:8px;font-size:13.5px;font-weight:480}
.treads .value{width:64px;font-weight:600;font-size:14px}
.treads th small,.treads .value small{display:block;font-size:12px}
.mark-line{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:3 2}
.preference th small,.preference .value small{display:block;line-height:1.25}
.preference th{width:190px}
.preference .value{white-space:nowrap}.preference .value small{font-size:12px}.card>.quiet+.figure{margin-top:16px}
.plane.two{padding-right:48px}.axis-name.both{display:flex;justify-content:space-between;gap:16px}
.plane.two+.axis-name.below{margin-right:48px}
.axis-name.both span+span{text-align:right}
.sample.many{grid-template-columns:minmax(0,1fr)}
.many .answers{grid-template-columns:repeat(auto-fill,minmax(min(100%,220px),1fr))}
.many .box{padding:10px 12px}.many .box>p{font-size:13px;gap:2px 6px}.many .verdict{font-size:12px;padding:0 6px}
.many .prompt{max-width:75ch}.many .answer{font-size:14px}
.samples{display:grid;gap:16px}.more>summary{padding:4px 2px 12px;font-size:15px;color:var(--link)}
.more .samples{color:var(--ink);font-size:16px}
.sample{display:grid;grid-template-columns:minmax(0,300px) minmax(0,1fr);gap:14px 28px;align-items:start}
.sample header{display:grid;grid-template-columns:minmax(0,1fr);gap:6px}
.sample header code{color:var(--quiet);font-size:12.5px}
.prompt,.answer,.text,.sample details div{white-space:pre-wrap}
.prompt{font-weight:560;font-size:15px}
.expected{font-size:14px}.expected span{color:var(--quiet)}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,240px),1fr));gap:12px}
.box{border-radius:10px;padding:12px 14px;background:var(--paper);border:1px solid var(--rule);min-width:0}
.box>p{display:flex;flex-wrap:wrap;justify-content:space-between;gap:2px 12px;font-size:14px;margin-bottom:6px}
.who{display:inline-flex;align-items:center;gap:7px;min-width:0}
.verdict{border-radius:99px;padding:0 10px;white-space:nowrap;font-size:13px;font-weight:560}
.verdict.good{color:var(--good);background:var(--good-soft)}.verdict.bad{color:var(--bad);background:var(--bad-soft)}
.verdict.open{color:var(--open);background:var(--open-soft)}
.answer{font-size:15px}
details{font-size:13.5px;color:var(--quiet);margin-top:8px}summary{cursor:pointer}
.lap{display:grid;gap:16px}
.stage>header{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:4px 20px}
.stage h3 small{margin-left:10px}
.number{display:inline-block;min-width:32px;color:var(--quiet);font-weight:400;font-variant-numeric:tabular-nums}
.costs{display:flex;flex-wrap:wrap;gap:2px 18px;font-size:14px;color:var(--quiet)}
.stage.missing{border-style:dashed;background:none}
.metrics{display:flex;flex-wrap:wrap;gap:10px 34px;margin-top:14px}
.metrics div{min-width:0;max-width:100%}
.panels{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:28px 40px;margin-top:22px;padding-top:20px;
  border-top:1px solid var(--rule)}
.panel{min-width:0}.panel.wide,.panel:only-child{grid-column:1/-1}
.text{max-width:75ch}
.data th,.data td{padding:7px 14px 7px 0;border-bottom:1px solid var(--rule);font-size:14.5px;vertical-align:top}
.data th.value,.data td.value{white-space:nowrap;padding-left:10px}
.data thead th{font-size:13px;color:var(--quiet);white-space:nowrap}
.data tr:last-child>*{border-bottom:0}
.data button{all:unset;cursor:pointer}.data button:focus-visible{outline:2px solid var(--link);outline-offset:2px}
[aria-sort=ascending] button::after{content:" \\2191"}[aria-sort=descending] button::after{content:" \\2193"}
.lineage{margin:0 auto;max-width:100%;height:auto}
.node rect{fill:var(--card);stroke:var(--c0);stroke-width:1.4}
.node.outside rect{stroke:var(--limit);stroke-dasharray:4 3;fill:var(--paper)}
.node .name{font-size:12px;font-weight:580;fill:var(--ink)}.node .print{font-size:11px}
.node a:hover rect{fill:var(--good-soft)}
.edge{fill:none;stroke:var(--limit);stroke-width:1.4}.edge:hover{stroke:var(--link);stroke-width:2.4}
.edge.stale{stroke:var(--bad);stroke-dasharray:5 3}
.cost .value+.plot{padding-left:32px}.cost th:nth-child(3){padding-left:32px}.cost th{width:150px}
.cost .value{width:104px}
.cost td,.cost th{padding-top:3px!important;padding-bottom:3px!important}
.cost .total>*{border-top:1px solid var(--rule);padding-top:8px!important;font-weight:600}
footer{padding-top:48px;padding-bottom:56px;color:var(--quiet);font-size:14px}
@media(max-width:900px){.sample{grid-template-columns:minmax(0,1fr)}.task{grid-template-columns:minmax(0,1fr)}
.panels{grid-template-columns:minmax(0,1fr)}}
@media(max-width:640px){
.wide-only{display:none}.narrow-only{display:table}.treads{table-layout:fixed}
main,.inner,nav,footer{padding-left:16px;padding-right:16px}
h1{font-size:34px}h2{font-size:23px;margin-top:48px}
.card,.sample{padding:18px 16px}.headlines{padding:2px 16px}
.top dl{gap:12px 28px}
.chart tr{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:baseline;column-gap:12px;
  padding-bottom:4px}
.chart th,.chart td.value{width:auto!important;max-width:none}
.chart td.plot{grid-column:1/-1;grid-row:2}
.chart .value small{display:inline;margin-left:6px}
.chart.preference .value small{display:block;margin:0;font-size:11.5px}
.dots th small{display:inline;margin-left:6px}.dots th .of{display:none}
.bars tr{grid-template-columns:minmax(0,1fr) 92px;align-items:center}.bars .first>td{padding-top:3px!important}
.bars th{grid-column:1/-1}.bars td.plot{grid-column:1;grid-row:auto}
.marks{justify-self:end}.axis-row td:not(.plot){display:none}
.dots tr.marks-row{grid-template-columns:minmax(0,1fr)}
.funnel tr{grid-template-columns:minmax(0,1fr) auto auto}.funnel .columns .plot{display:none}
.funnel .value{min-width:64px;padding-left:8px}
.data{min-width:480px}.data.sortable{min-width:800px}.funnel .value small{display:block;margin:0}
.cost tr{grid-template-columns:minmax(0,1fr) 92px minmax(0,1fr) 70px;column-gap:6px;align-items:center}
.cost .value+.plot{padding-left:0}
.cost .total>td{border:0;padding-top:3px!important}
.cost th[scope=row]{grid-column:1/-1}
.cost .columns{display:none}
.cost td.plot{grid-column:auto;grid-row:2}.cost td.value{grid-row:2;font-size:13px}
}
@media print{
body{background:none;font-size:11pt}nav,.hills,footer{display:none}.card,.sample{break-inside:avoid;border-color:#bbb}
.headlines,.lap .card{break-inside:auto}.lead{break-after:avoid}.top .inner{padding:0 24px 16px}
.panel,.task{break-inside:avoid}.scroll{overflow:visible}h2,h3,h4{break-after:avoid}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
"""

STYLE = (
    f":root{{color-scheme:light dark;{variables(LIGHT)}}}"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
    f"{COLOURS}{RULES}"
)

SCRIPT = """
document.querySelectorAll("table.sortable").forEach(function (table) {
  var heads = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
  function key(row, index) {
    var cell = row.cells[index], data = cell.querySelector("data");
    return data ? Number(data.value) : cell.textContent;
  }
  heads.forEach(function (head, index) {
    var button = document.createElement("button");
    button.append.apply(button, Array.from(head.childNodes));
    head.append(button);
    button.addEventListener("click", function () {
      var up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      Array.from(body.rows).sort(function (a, b) {
        var x = key(a, index), y = key(b, index);
        var order = typeof x === "number" ? x - y : x.localeCompare(y);
        return up ? order : -order;
      }).forEach(function (row) { body.append(row); });
    });
  });
});
"""
