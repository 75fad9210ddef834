"""How the report looks: light and dark, from 320 pixels on."""

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b1f24;--dim:#57606a;--line:#d0d7de;--good:#1a7f37;
--bad:#cf222e;--warn:#9a6700;--track:#eaeef2;--link:#0550ae}
@media(prefers-color-scheme:dark){:root{--bg:#0f1216;--card:#171b21;--ink:#e6e9ed;--dim:#9aa4af;--line:#30363d;
--good:#3fb950;--bad:#ff7b72;--warn:#d29922;--track:#232930;--link:#79b8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:16px}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0}h2{font-size:1.15rem;margin:0}h3{font-size:.95rem;margin:16px 0 6px}
h1,h2,p,li,dd,summary,pre{overflow-wrap:anywhere}
a{color:var(--link)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px;margin:14px 0}
.dim{color:var(--dim)}.head{display:flex;flex-wrap:wrap;gap:6px 10px;align-items:baseline}
.badge{border:1px solid currentColor;border-radius:99px;padding:0 9px;font-size:.8rem;font-weight:600}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,220px),1fr));gap:8px 16px;margin:10px 0 0}
dl div{min-width:0}dt{color:var(--dim);font-size:.8rem}dd{margin:0}
.frames{display:grid;grid-template-columns:repeat(auto-fill,minmax(96px,1fr));gap:8px;padding:0;
list-style:none}
.frames a{display:block;text-decoration:none}
.frames img{display:block;width:100%;height:auto;border-radius:4px;background:var(--track)}
.frames span{display:block;font-size:.72rem;color:var(--dim);overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:600}
pre{white-space:pre-wrap;margin:6px 0;font:13px/1.45 ui-monospace,monospace;max-height:20em;overflow:auto}
ul.notes{margin:6px 0;padding-left:1.2em}
.lane{margin:8px 0}.lane p{margin:0 0 2px;font-size:.8rem;color:var(--dim)}
.track{position:relative;height:22px;background:var(--track);border-radius:4px;overflow:hidden}
.track a{position:absolute;top:3px;bottom:3px;min-width:3px;background:currentColor;border-radius:2px}
.track a:focus{outline:2px solid var(--link)}
.axis{display:flex;justify-content:space-between;font-size:.75rem;color:var(--dim)}
summary{cursor:pointer}
""".replace("\n", "")
