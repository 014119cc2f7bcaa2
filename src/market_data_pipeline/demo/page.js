"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const chart = document.getElementById("chart");
  const overview = document.getElementById("overview");
  const readout = document.getElementById("readout");
  const picker = document.getElementById("symbol");
  const EVERY = [1, 2, 5, 10, 15, 30, 60, 120, 300].map((n) => n * data.every);
  const AXIS = 66, FOOT = 22, GAP = 10;
  const view = { from: 0, to: 1, every: 0, symbol: 0, hover: null };

  const unpack = (packed) => {
    const bars = [];
    let t = 0, close = 0;
    packed.t.forEach((step, i) => {
      t += step;
      const o = close + packed.o[i];
      const c = o + packed.c[i];
      bars.push({
        t: t * data.every, o, c, v: packed.v[i], n: packed.n[i],
        h: Math.max(o, c) + packed.h[i], l: Math.min(o, c) - packed.l[i],
      });
      close = c;
    });
    return bars;
  };
  const series = data.symbols.map((s) => ({ ...s, bars: unpack(s.bars), grouped: new Map() }));
  const span = Math.max(...series.map((s) => s.bars.length ? s.bars.at(-1).t + data.every : 0), data.every);

  const grouped = (s, every) => {
    if (every === data.every) return s.bars;
    if (s.grouped.has(every)) return s.grouped.get(every);
    const out = [];
    for (const b of s.bars) {
      // Windows are aligned to the epoch, as the pipeline's are.
      const t = Math.floor((data.start + b.t) / every) * every - data.start;
      const last = out.at(-1);
      if (last && last.t === t) {
        last.h = Math.max(last.h, b.h); last.l = Math.min(last.l, b.l);
        last.c = b.c; last.v += b.v; last.n += b.n;
      } else out.push({ ...b, t });
    }
    s.grouped.set(every, out);
    return out;
  };
  const lower = (bars, t) => {
    let a = 0, b = bars.length;
    while (a < b) { const m = (a + b) >> 1; if (bars[m].t < t) a = m + 1; else b = m; }
    return a;
  };

  const pad = (n) => String(n).padStart(2, "0");
  const clock = (t, fine) => {
    const d = new Date((data.start + t) * 1000);
    const text = `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}`;
    return fine ? `${text}:${pad(d.getUTCSeconds())}` : text;
  };
  const price = (s, x) => (x * s.price_unit).toFixed(s.price_digits);
  const count = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 2 });
  const short = (x) => x >= 1e6 ? `${+(x / 1e6).toPrecision(3)}M` : x >= 1e4 ? `${+(x / 1e3).toPrecision(3)}k` : count(x);
  const length = (every) => every < 60 ? `${every}s` : `${every / 60}m`;

  const colours = () => {
    const style = getComputedStyle(root);
    const names = ["ink", "soft", "line", "grid", "up", "down", "mark", "gap", "card", "focus"];
    return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--${n}`).trim()]));
  };
  const fit = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: w, clientHeight: h } = canvas;
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
      canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio);
    }
    const g = canvas.getContext("2d");
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, w, h);
    g.font = "12px system-ui, sans-serif";
    return [g, w, h];
  };
  const nice = (raw) => {
    const power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].find((m) => m * power >= raw) * power;
  };

  const everyNow = (w) => {
    if (view.every) return view.every;
    const seconds = view.to - view.from;
    return EVERY.find((e) => e / seconds * (w - AXIS) >= 6) || EVERY.at(-1);
  };

  let pending = false;
  const redraw = () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(); drawOverview(); });
  };

  const draw = () => {
    const [g, w, h] = fit(chart);
    const ink = colours();
    const s = series[view.symbol];
    const every = everyNow(w);
    const bars = grouped(s, every);
    const plot = w - AXIS, tall = h - FOOT;
    const volumeTop = Math.round(tall * 0.78), priceTall = volumeTop - GAP;
    const x = (t) => (t - view.from) / (view.to - view.from) * plot;
    const first = Math.max(0, lower(bars, view.from - every)), stop = lower(bars, view.to);
    const seen = bars.slice(first, stop);
    document.querySelectorAll("#every button").forEach((b) => {
      b.setAttribute("aria-pressed", String(+b.dataset.every === view.every));
      if (b.dataset.every === "0") b.textContent = view.every ? "auto" : `auto · ${length(every)}`;
    });
    if (!seen.length) {
      g.fillStyle = ink.soft; g.textAlign = "center";
      g.fillText("no bars here", plot / 2, tall / 2);
      tell(s, null, every);
      return;
    }
    let low = Infinity, high = -Infinity, most = 1;
    for (const b of seen) { low = Math.min(low, b.l); high = Math.max(high, b.h); most = Math.max(most, b.v); }
    const margin = Math.max(1, (high - low) * 0.06);
    low -= margin; high += margin;
    const y = (p) => (high - p) / (high - low) * priceTall;
    const yv = (v) => tall - v / most * (tall - volumeTop);

    g.lineWidth = 1; g.textBaseline = "middle"; g.textAlign = "left";
    const step = Math.max(1, nice((high - low) / Math.max(3, priceTall / 56)));
    for (let p = Math.ceil(low / step) * step; p < high; p += step) {
      const at = Math.round(y(p)) + 0.5;
      g.strokeStyle = ink.grid; g.beginPath(); g.moveTo(0, at); g.lineTo(plot, at); g.stroke();
      if (at > 8 && at < priceTall - 2) { g.fillStyle = ink.soft; g.fillText(price(s, p), plot + 8, at); }
    }
    g.fillStyle = ink.soft; g.fillText(short(most * s.size_unit), plot + 8, volumeTop + 5);
    const seconds = view.to - view.from;
    const ticks = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
    const every2 = ticks.find((n) => n / seconds * plot >= 78) || 86400;
    g.textAlign = "center";
    for (let t = Math.ceil((data.start + view.from) / every2) * every2 - data.start; t < view.to; t += every2) {
      const at = Math.round(x(t)) + 0.5;
      g.strokeStyle = ink.grid; g.beginPath(); g.moveTo(at, 0); g.lineTo(at, tall); g.stroke();
      g.fillStyle = ink.soft;
      if (at > 22 && at < plot - 22) g.fillText(clock(t, every2 < 60), at, tall + 12);
    }

    for (const gap of s.gaps) {
      const a = x(gap.from), b = Math.max(x(gap.to), a + 3);
      if (b < 0 || a > plot) continue;
      g.globalAlpha = 0.28; g.fillStyle = ink.gap; g.fillRect(a, 0, Math.min(b, plot) - a, tall);
      g.globalAlpha = 1; g.textAlign = a > plot - 130 ? "right" : "left";
      g.fillText(`${count(gap.missing)} missing`, a > plot - 130 ? a - 5 : Math.min(b, plot) + 5, 10);
    }

    const wide = every / seconds * plot;
    const body = Math.max(1, Math.min(wide - 1, wide * 0.74, 26));
    g.save(); g.beginPath(); g.rect(0, 0, plot, tall); g.clip();
    for (const b of seen) {
      const mid = x(b.t + every / 2), up = b.c >= b.o;
      g.fillStyle = up ? ink.up : ink.down;
      g.globalAlpha = 0.42; g.fillRect(mid - body / 2, yv(b.v), body, tall - yv(b.v)); g.globalAlpha = 1;
      g.fillRect(mid - 0.5, y(b.h), 1, Math.max(1, y(b.l) - y(b.h)));
      const top = y(Math.max(b.o, b.c));
      g.fillRect(mid - body / 2, top, body, Math.max(1, y(Math.min(b.o, b.c)) - top));
    }
    g.fillStyle = ink.mark;
    for (const t of s.late) {
      if (t < view.from || t > view.to) continue;
      const at = x(t);
      g.beginPath(); g.moveTo(at, priceTall - 1); g.lineTo(at - 4, priceTall + 7); g.lineTo(at + 4, priceTall + 7); g.fill();
    }
    g.restore();

    let pointed = null;
    if (view.hover && view.hover.x >= 0 && view.hover.x < plot && view.hover.y < tall) {
      const t = view.from + view.hover.x / plot * seconds;
      const i = lower(bars, t + 1e-9) - 1;
      if (i >= 0 && t < bars[i].t + every) pointed = bars[i];
      const at = Math.round(pointed ? x(pointed.t + every / 2) : view.hover.x) + 0.5, level = Math.round(view.hover.y) + 0.5;
      g.strokeStyle = ink.soft; g.setLineDash([4, 4]);
      g.beginPath(); g.moveTo(at, 0); g.lineTo(at, tall); g.moveTo(0, level); g.lineTo(plot, level); g.stroke();
      g.setLineDash([]);
      const label = (text, cx, cy, width) => {
        g.fillStyle = ink.ink; g.fillRect(cx - width / 2, cy - 9, width, 18);
        g.fillStyle = ink.card; g.textAlign = "center"; g.fillText(text, cx, cy);
      };
      if (level < priceTall) label(price(s, high - level / priceTall * (high - low)), plot + AXIS / 2, level, AXIS - 4);
      label(clock(pointed ? pointed.t : t, true), Math.min(plot - 30, Math.max(30, at)), tall + 12, 60);
    }
    tell(s, pointed || seen.at(-1), every);
  };

  const tell = (s, b, every) => {
    readout.textContent = "";
    if (!b) return;
    const put = (name, text, colour) => {
      const item = document.createElement("span"), label = document.createElement("i");
      label.textContent = `${name} `;
      item.append(label, text);
      if (colour) item.style.color = colour;
      readout.append(item);
    };
    const colour = `var(--${b.c >= b.o ? "up" : "down"})`;
    put(s.name, `${clock(b.t, true)} UTC, ${length(every)}`);
    put("open", price(s, b.o), colour); put("high", price(s, b.h), colour);
    put("low", price(s, b.l), colour); put("close", price(s, b.c), colour);
    put("volume", count(b.v * s.size_unit)); put("trades", count(b.n));
  };

  const drawOverview = () => {
    const [g, w, h] = fit(overview);
    const ink = colours(), s = series[view.symbol], bars = s.bars, plot = w - AXIS;
    if (!bars.length) return;
    let low = Infinity, high = -Infinity;
    for (const b of bars) { low = Math.min(low, b.l); high = Math.max(high, b.h); }
    const x = (t) => t / span * plot, y = (p) => 4 + (high - p) / Math.max(1, high - low) * (h - 8);
    g.strokeStyle = ink.soft; g.lineWidth = 1.2; g.lineJoin = "round"; g.beginPath();
    bars.forEach((b, i) => i ? g.lineTo(x(b.t), y(b.c)) : g.moveTo(x(b.t), y(b.c)));
    g.stroke();
    const a = x(view.from), b = x(view.to);
    g.globalAlpha = 0.14; g.fillStyle = ink.focus; g.fillRect(a, 0, Math.max(3, b - a), h); g.globalAlpha = 1;
    g.strokeStyle = ink.focus; g.strokeRect(a + 0.5, 0.5, Math.max(2, b - a - 1), h - 1);
  };

  const move = (from, to) => {
    const wide = Math.min(span, Math.max(12 * data.every, to - from));
    const middle = (from + to) / 2;
    view.from = Math.min(span - wide, Math.max(0, middle - wide / 2));
    view.to = view.from + wide;
    redraw();
  };
  const zoom = (factor, at) => {
    const t = at ?? (view.from + view.to) / 2;
    const wide = Math.min(span, Math.max(12 * data.every, (view.to - view.from) * factor));
    const share = (t - view.from) / (view.to - view.from);
    move(t - share * wide, t + (1 - share) * wide);
  };
  const pick = (i) => { view.symbol = i; picker.value = String(i); legend(); redraw(); };

  const legend = () => {
    const box = document.getElementById("legend"), s = series[view.symbol];
    box.textContent = "";
    const put = (colour, text) => {
      const item = document.createElement("span"), dot = document.createElement("i");
      dot.style.background = `var(--${colour})`;
      item.append(dot, text); box.append(item);
    };
    put("up", "closed higher"); put("down", "closed lower");
    if (s.late.length) put("mark", `${count(s.late.length)} late rows, kept apart`);
    for (const gap of s.gaps) put("gap", `sequence ${count(gap.first)} to ${count(gap.last)} missing`);
    put("focus", "drag to move, wheel or pinch to zoom");
  };

  const timeAt = (event) => {
    const box = chart.getBoundingClientRect();
    return view.from + (event.clientX - box.left) / (box.width - AXIS) * (view.to - view.from);
  };
  const fingers = new Map();
  chart.addEventListener("pointerdown", (e) => { chart.setPointerCapture(e.pointerId); fingers.set(e.pointerId, e); });
  const lift = (e) => fingers.delete(e.pointerId);
  chart.addEventListener("pointerup", lift);
  chart.addEventListener("pointercancel", lift);
  chart.addEventListener("pointerleave", () => { view.hover = null; redraw(); });
  chart.addEventListener("pointermove", (e) => {
    const box = chart.getBoundingClientRect(), before = fingers.get(e.pointerId);
    view.hover = { x: e.clientX - box.left, y: e.clientY - box.top };
    if (before) {
      const other = [...fingers.values()].find((f) => f.pointerId !== e.pointerId);
      if (other) {
        const was = Math.abs(before.clientX - other.clientX), now = Math.abs(e.clientX - other.clientX);
        if (was > 8 && now > 8) zoom(was / now, timeAt({ clientX: (e.clientX + other.clientX) / 2 }));
      } else {
        const shift = (before.clientX - e.clientX) / (box.width - AXIS) * (view.to - view.from);
        move(view.from + shift, view.to + shift);
      }
      fingers.set(e.pointerId, e);
    }
    redraw();
  });
  chart.addEventListener("wheel", (e) => {
    e.preventDefault();
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
      const shift = e.deltaX / chart.clientWidth * (view.to - view.from);
      move(view.from + shift, view.to + shift);
    } else zoom(Math.exp(Math.max(-80, Math.min(80, e.deltaY)) * 0.004), timeAt(e));
  }, { passive: false });
  chart.addEventListener("dblclick", () => move(0, span));
  chart.addEventListener("keydown", (e) => {
    const tenth = (view.to - view.from) / 10;
    if (e.key === "ArrowLeft") move(view.from - tenth, view.to - tenth);
    else if (e.key === "ArrowRight") move(view.from + tenth, view.to + tenth);
    else if (e.key === "+" || e.key === "=") zoom(0.7);
    else if (e.key === "-") zoom(1 / 0.7);
    else return;
    e.preventDefault();
  });
  const slide = (e) => {
    const box = overview.getBoundingClientRect(), half = (view.to - view.from) / 2;
    const t = (e.clientX - box.left) / (box.width - AXIS) * span;
    move(t - half, t + half);
  };
  overview.addEventListener("pointerdown", (e) => { overview.setPointerCapture(e.pointerId); slide(e); });
  overview.addEventListener("pointermove", (e) => { if (e.buttons) slide(e); });

  document.querySelectorAll("[data-zoom]").forEach((b) => b.addEventListener("click", () => {
    if (b.dataset.zoom === "all") move(0, span); else zoom(+b.dataset.zoom);
  }));
  series.forEach((s, i) => picker.add(new Option(s.label, String(i))));
  picker.addEventListener("change", () => pick(+picker.value));
  const group = document.getElementById("every");
  for (const every of [0, ...EVERY.filter((e) => [1, 5, 15, 60].includes(e / data.every))]) {
    const b = document.createElement("button");
    b.type = "button"; b.dataset.every = String(every); b.textContent = every ? length(every) : "auto";
    b.addEventListener("click", () => { view.every = every; redraw(); });
    group.append(b);
  }
  const theme = document.getElementById("theme");
  const wear = (name) => { root.dataset.theme = name; theme.textContent = name === "dark" ? "light" : "dark"; redraw(); };
  theme.addEventListener("click", () => wear(root.dataset.theme === "dark" ? "light" : "dark"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", (e) => wear(e.matches ? "dark" : "light"));
  new ResizeObserver(redraw).observe(chart);
  wear(dark.matches ? "dark" : "light");
  if (series.length) { pick(0); move(0, span); }
})();
