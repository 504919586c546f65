'use strict';
// Errors are counted where the screenshot test looks for them.
const root = document.documentElement;
root.dataset.errors = '';
addEventListener('error', (event) => { root.dataset.errors += `${event.message}; `; });

const data = JSON.parse(document.getElementById('data').textContent);
const { figures, setting, nodes, stories, moments } = data;
const $ = (id) => document.getElementById(id);
const paint = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
const count = (value) => Math.round(value).toLocaleString('en');
// Of none there is no share.
const percent = (share, digits = 2) => (share === null ? '–' : `${(share * 100).toFixed(digits)} %`);
const ms = (value) => (value >= 10000 ? `${(value / 1000).toFixed(1)} s` : `${count(value)} ms`);
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;
const hops = (number) => `${number} hop${number === 1 ? '' : 's'}`;
// From orange to violet: red is for liars.
const hue = (region) => 40 + ((region * 270 / Math.max(data.regions.length, 1) + 175) % 270);
const isDark = () => root.classList.contains('dark');
const tint = (region, alpha = 1) => `hsl(${hue(region)} ${isDark() ? '70% 66%' : '62% 46%'} / ${alpha})`;
const state = { story: 0, instant: 1, time: 1, playing: 0 };

function el(parent, name, attributes = {}, text) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function tell(target, text) {
  target.addEventListener('pointermove', (event) => showTip(event, text));
  target.addEventListener('pointerleave', hideTip);
}

function showTip(event, text) {
  const tip = $('tip');
  tip.textContent = typeof text === 'function' ? text(event) : text;
  tip.hidden = false;
  const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${x}px`;
  tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
}

function hideTip() { $('tip').hidden = true; }

function legend(id, entries) {
  $(id).replaceChildren(...entries.map(([color, text, edge]) => {
    const entry = document.createElement('span');
    const mark = document.createElement('i');
    mark.style.background = color;
    if (edge) Object.assign(mark.style, { boxShadow: `inset 0 0 0 2px ${edge}`, borderRadius: '50%' });
    entry.append(mark, text);
    return entry;
  }));
}

/// A chart's frame: an emptied SVG with a grid, and functions from values to places.
function frame(id, height, xs, ys, ticks, format) {
  const svg = $(id);
  svg.replaceChildren();
  const width = svg.clientWidth || 400;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  const [left, right, top, bottom] = [44, 10, 12, 24];
  const x = (value) => left + (value - xs[0]) / (xs[1] - xs[0] || 1) * (width - left - right);
  const part = Math.max(nice((ys[1] - ys[0]) / 4), format.least || 0);
  const low = Math.floor(ys[0] / part) * part;
  const high = Math.max(Math.ceil(ys[1] / part) * part, low + part);
  const y = (value) => height - bottom - (value - low) / (high - low) * (height - top - bottom);
  for (let value = low; value <= high + part / 2; value += part) {
    const step = value > low;
    el(svg, 'line', { class: step ? 'gridline' : 'axis', x1: left, x2: width - right, y1: y(value), y2: y(value) });
    el(svg, 'text', { x: left - 7, y: y(value) + 4, 'text-anchor': 'end' }, format.y(value));
  }
  for (const value of ticks) {
    el(svg, 'text', { x: x(value + (format.shift || 0)), y: height - 7, 'text-anchor': 'middle' }, format.x(value));
  }
  return { svg, x, y, low, high, width, height, left, right, bottom, top };
}

const short = (value) => {
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  return value >= 1000 ? `${+(value / 1000).toFixed(1)}k` : `${+value.toFixed(1)}`;
};

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 2, 2.5, 4, 5, 10].map((factor) => factor * power).find((step) => step >= value) || value;
}

function tiles() {
  const facts = [
    [percent(figures.success_rate, 3), 'of lookups succeed', `${count(figures.lookups)} lookups`],
    [figures.hops_mean.toFixed(2), 'hops on average', `p95 ${figures.hops_p95}`],
    [figures.messages_mean.toFixed(1), 'messages a lookup', `p95 ${figures.messages_p95}`],
    [ms(figures.latency_ms_p50), 'median lookup', `p95 ${ms(figures.latency_ms_p95)}`],
    [ms(figures.read_latency_ms_p95), 'p95 of reads', `${percent(figures.read_success_rate, 3)} found`],
    [`${figures.load_max_over_mean.toFixed(2)} ×`, 'the mean: busiest node', `${figures.messages_per_second_per_node.toFixed(1)} messages/s each`],
    [`${(figures.memory_per_node_bytes / 1024).toFixed(1)} KiB`, 'memory a node', `${count(figures.table_entries_mean)} contacts, ${percent(figures.table_live_share, 1)} up`],
  ];
  $('tiles').replaceChildren(...facts.map(([value, name, more]) => {
    const tile = document.createElement('div');
    tile.className = 'tile';
    for (const [tag, text] of [['b', value], ['span', name], ['small', more]]) {
      const part = document.createElement(tag);
      part.textContent = text;
      tile.append(part);
    }
    return tile;
  }));
  $('title').textContent = `${count(figures.nodes)} nodes, ${count(figures.lookups)} lookups`
    + (setting.churn ? `, ${percent(setting.churn, 0)} churn an hour` : '');
  $('subtitle').textContent = `${clock(figures.virtual_seconds)} virtual minutes · ${percent(setting.loss, 1)} of messages lost · `
    + `${data.regions.length} region${data.regions.length > 1 ? 's' : ''} · ${setting.paths} disjoint path${setting.paths > 1 ? 's' : ''}`
    + (setting.malicious ? ` · ${percent(setting.malicious, 0)} of nodes lie (${setting.behaviour})` : '')
    + ` · seed ${figures.seed} · trace ${figures.trace_hash}`;
  $('footer').textContent = `${count(figures.steps)} steps of virtual time. The nodes run the code that ships; every message went through the wire format. `
    + 'Times are virtual; distances between regions are IBM Cloud’s averages of February 2024. '
    + `Success: the closest node that was up all the time was found. The same seed gives the same trace.`
    + (nodes.length < figures.nodes ? ` The ring shows ${count(nodes.length)} of the nodes.` : '');
}

// ---- the ring

/// Angle of a place between 0 and 65535; zero is at the top.
const angle = (place) => place / 65536 * 2 * Math.PI - Math.PI / 2;

function isUp(node, second) {
  for (let at = 4; at < node.length; at += 2) {
    if (node[at] <= second && (node[at + 1] < 0 || second < node[at + 1])) return true;
  }
  return false;
}

function changed(node, second, span) {
  for (let at = 4; at < node.length; at += 2) {
    if (node[at] > second - span && node[at] <= second) return 1;
    if (node[at + 1] >= 0 && node[at + 1] > second - span && node[at + 1] <= second) return -1;
  }
  return 0;
}

let bands = {};

function ring() {
  const canvas = $('ring');
  const size = canvas.clientWidth;
  const scale = Math.min(devicePixelRatio || 1, 2);
  canvas.width = canvas.height = size * scale;
  const pen = canvas.getContext('2d');
  pen.scale(scale, scale);
  pen.clearRect(0, 0, size, size);
  const middle = size / 2;
  const outer = middle - 14;
  const inner = outer * 0.8;
  const step = (outer - inner) / Math.max(data.regions.length, 1);
  const radius = (region) => inner + step * (region + 0.5);
  bands = { middle, outer, inner, radius };
  const at = (place, r) => [middle + Math.cos(angle(place)) * r, middle + Math.sin(angle(place)) * r];
  pen.strokeStyle = paint('grid');
  pen.lineWidth = 1;
  for (const r of [inner - 3, outer + 3]) {
    pen.beginPath();
    pen.arc(middle, middle, r, 0, 2 * Math.PI);
    pen.stroke();
  }
  // The first bits of ids, as a tree from the middle.
  pen.globalAlpha = isDark() ? 0.9 : 1;
  branch(pen, middle, 0, 0, inner - 5);
  pen.globalAlpha = 1;
  const second = state.time * figures.virtual_seconds;
  const span = figures.virtual_seconds / Math.max(moments.length, 1);
  const dot = nodes.length > 2500 ? 1.15 : nodes.length > 700 ? 1.7 : 2.6;
  let marks = 0;
  for (const node of nodes) {
    const [x, y] = at(node[0], radius(node[1]));
    const now = changed(node, second, span);
    const up = isUp(node, second);
    if (!up && now >= 0) continue;
    pen.fillStyle = now > 0 ? paint('good') : now < 0 ? paint('soft') : tint(node[1], 0.85);
    pen.beginPath();
    pen.arc(x, y, now ? dot * 1.9 : dot, 0, 2 * Math.PI);
    pen.fill();
    if (node[3] === 1) {
      // A ring, so that it can be told also by who sees no red.
      pen.strokeStyle = paint('bad');
      pen.lineWidth = dot * 0.8;
      pen.beginPath();
      pen.arc(x, y, dot * 2.2, 0, 2 * Math.PI);
      pen.stroke();
    }
    marks += 1;
  }
  canvas.dataset.marks = marks;
  path(pen, at);
}

/// A binary tree of prefixes, six bits deep.
function branch(pen, middle, depth, prefix, reach) {
  if (depth >= 6) return;
  const parts = 2 ** depth;
  const place = (number, all) => (number + 0.5) / all * 65536;
  const r = (level) => reach * (0.12 + 0.88 * level / 6) * (level ? 1 : 0);
  const from = [middle + Math.cos(angle(place(prefix, parts))) * r(depth), middle + Math.sin(angle(place(prefix, parts))) * r(depth)];
  for (const bit of [0, 1]) {
    const child = prefix * 2 + bit;
    const a = angle(place(child, parts * 2));
    const b = [middle + Math.cos(a) * r(depth + 1), middle + Math.sin(a) * r(depth + 1)];
    pen.strokeStyle = paint('line');
    pen.lineWidth = 1.4 - depth * 0.16;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...b);
    pen.stroke();
    branch(pen, middle, depth + 1, child, reach);
  }
}

/// The chosen lookup over the ring, up to the chosen instant.
function path(pen, at) {
  const story = stories[state.story];
  if (!story) return;
  const { middle, outer, inner, radius } = bands;
  const now = state.instant * story.took;
  const done = story.steps.filter((step) => step[2] >= 0 && step[2] <= now);
  const best = done.reduce((bits, step) => Math.max(bits, step[3]), 0);
  // What shares as many bits with the target as the best that has answered.
  const reached = [...new Set([best, ...done.map((step) => step[3])])].filter((bits) => bits <= best);
  for (const bits of reached.sort((a, b) => a - b).filter((bits, at, all) => at === 0 || bits >= 6 || bits === all.at(-1) || bits % 2)) {
    const share = 65536 / 2 ** Math.min(bits, 16);
    const wide = Math.max(share, 560);
    const begin = share < wide ? story.target - wide / 2 : Math.floor(story.target / share) * share;
    pen.fillStyle = paint('glow');
    pen.beginPath();
    pen.moveTo(middle, middle);
    pen.arc(middle, middle, outer + 6, angle(begin), angle(begin + wide));
    pen.closePath();
    pen.fill();
  }
  const origin = at(story.caller[0], radius(story.caller[1]));
  const shown = story.steps.filter((step) => step[1] <= now);
  shown.forEach((step) => {
    const to = at(step[0], radius(step[5]));
    const teller = step[4] >= 0 ? story.steps[step[4]] : null;
    const start = teller ? at(teller[0], radius(teller[5])) : origin;
    const answered = step[2] >= 0 && step[2] <= now;
    pen.strokeStyle = step[6] ? paint('bad') : answered ? paint(step[3] === best ? 'two' : 'one') : paint('three');
    pen.globalAlpha = answered ? 0.75 : 0.55;
    pen.lineWidth = step[3] === best && answered ? 2 : 1.15;
    pen.setLineDash(answered ? [] : [4, 4]);
    pen.beginPath();
    pen.moveTo(...start);
    // Ends that are near each other bend little, far ones go by the middle.
    const gap = Math.hypot(start[0] - to[0], start[1] - to[1]) / (2 * outer);
    const pull = 0.46 - 0.4 * Math.min(1, gap * 1.6);
    const bend = (a, b) => middle + (a + b - 2 * middle) * pull;
    pen.quadraticCurveTo(bend(start[0], to[0]), bend(start[1], to[1]), ...to);
    pen.stroke();
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    disc(pen, to, 3.2, pen.strokeStyle);
  });
  disc(pen, origin, 6, paint('ink'));
  disc(pen, origin, 3.2, paint('panel'));
  const [x, y] = at(story.target, outer + 8);
  pen.fillStyle = paint('two');
  pen.beginPath();
  const a = angle(story.target);
  pen.moveTo(x - Math.cos(a) * 7, y - Math.sin(a) * 7);
  for (const turn of [0.55, -0.55]) {
    const side = a + turn;
    pen.lineTo(x + Math.cos(side) * 7, y + Math.sin(side) * 7);
  }
  pen.closePath();
  pen.fill();
  $('ring-hint').textContent = `${shown.length} asked, ${done.length} answered, best so far shares ${best} bits with the ${story.read ? 'key' : 'point'} (the shaded part of the ring)`;
}

function disc(pen, [x, y], r, fill) {
  pen.fillStyle = fill;
  pen.beginPath();
  pen.arc(x, y, r, 0, 2 * Math.PI);
  pen.fill();
}

function overRing(event) {
  const box = $('ring').getBoundingClientRect();
  const [x, y] = [event.clientX - box.left - bands.middle, event.clientY - box.top - bands.middle];
  const r = Math.hypot(x, y);
  let nearest = null;
  let least = 8;
  for (const node of nodes) {
    const a = angle(node[0]);
    const reach = bands.radius(node[1]);
    if (Math.abs(reach - r) > least) continue;
    const off = Math.hypot(Math.cos(a) * reach - x, Math.sin(a) * reach - y);
    if (off < least) [least, nearest] = [off, node];
  }
  if (!nearest) return hideTip();
  const hex = nearest[0].toString(16).padStart(4, '0');
  const kind = ['', ', lies', ', behind NAT'][nearest[3]];
  return showTip(event, `n${hex}…  ${data.regions[nearest[1]]}${kind}\n${count(nearest[2])} messages`);
}

// ---- one lookup

function waterfall() {
  const story = stories[state.story];
  const svg = $('waterfall');
  svg.replaceChildren();
  if (!story) return;
  const row = Math.max(11, Math.min(23, 560 / Math.max(story.steps.length, 1)));
  const height = story.steps.length * row + 34;
  const width = svg.clientWidth || 500;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  const left = 140;
  const x = (value) => left + value / Math.max(story.took, 1) * (width - left - 16);
  const scale = nice(story.took / 5);
  for (let value = 0; value <= story.took; value += scale) {
    el(svg, 'line', { class: 'gridline', x1: x(value), x2: x(value), y1: 16, y2: height - 6 });
    el(svg, 'text', { x: x(value), y: 10, 'text-anchor': 'middle' }, ms(value));
  }
  const now = state.instant * story.took;
  let best = 0;
  const order = story.steps.map((step, number) => [step, number]);
  for (const [step, number] of order) {
    const y = 20 + number * row;
    const answered = step[2] >= 0;
    const end = answered ? step[2] : story.took;
    const nearer = answered && step[3] > best;
    if (nearer) best = step[3];
    const color = step[6] ? 'bad' : !answered ? 'three' : nearer ? 'two' : 'one';
    const faded = step[1] > now ? 0.12 : 1;
    if (step[4] >= 0) {
      const told = story.steps[step[4]];
      const from = 20 + step[4] * row + row / 2;
      el(svg, 'path', {
        d: `M${x(told[2])} ${from}C${x(told[2]) + 10} ${y} ${x(step[1]) - 10} ${from} ${x(step[1])} ${y + row / 2}`,
        fill: 'none', stroke: `var(--soft)`, 'stroke-width': 0.7, opacity: 0.32 * faded,
      });
    }
    el(svg, 'text', { x: 0, y: y + row / 2 + 4, opacity: Math.max(faded, 0.35) }, `n${step[0].toString(16).padStart(4, '0')}`);
    el(svg, 'text', { x: 44, y: y + row / 2 + 4, opacity: Math.max(faded, 0.35) }, data.regions[step[5]].slice(0, 10));
    el(svg, 'text', { x: left - 8, y: y + row / 2 + 4, 'text-anchor': 'end', opacity: Math.max(faded, 0.35) }, step[3]);
    const bar = el(svg, 'rect', {
      x: x(step[1]), y: y + 2 + Math.max(0, row - 17) / 4, width: Math.max(x(Math.min(end, Math.max(now, step[1]))) - x(step[1]), 2), height: Math.min(row - 4, 15), rx: 3,
      fill: `var(--${color})`, opacity: faded * (answered ? 0.9 : 0.5),
    });
    if (step[8] >= 0 && step[8] <= now) {
      el(svg, 'line', { x1: x(step[8]), x2: x(step[8]), y1: y + 1, y2: y + row - 1, stroke: 'var(--ink)', 'stroke-width': 1.5, opacity: 0.7 });
    }
    tell(bar, `n${step[0].toString(16).padStart(4, '0')}… in ${data.regions[step[5]]}${step[6] ? ', which lies' : ''}\n`
      + `shares ${step[3]} bits with the ${story.read ? 'key' : 'point'}, ${step[7]} hop${step[7] === 1 ? '' : 's'} away\n`
      + `asked after ${ms(step[1])}${step[8] >= 0 ? `, again after ${ms(step[8])}` : ''}, ${answered ? `answered after ${ms(step[2] - step[1])}` : 'not answered by the end'}`);
  }
  el(svg, 'line', { x1: x(now), x2: x(now), y1: 14, y2: height - 4, stroke: 'var(--ink)', 'stroke-width': 1, opacity: 0.55 });
  svg.dataset.marks = story.steps.length;
  $('story-hint').textContent = `${story.read ? 'A read of a record' : 'A lookup of a point'} from ${data.regions[story.caller[1]]} at ${clock(story.began)}: `
    + `${story.steps.length} requests, ${hops(story.hops)}, ${ms(story.took)}, ${story.good ? 'success' : 'failure'}. Columns: node, region, shared bits.`;
}

function chooseStory(number) {
  state.story = (number + stories.length) % Math.max(stories.length, 1);
  state.instant = 1;
  $('stories').value = state.story;
  $('instant').value = 1000;
  const story = stories[state.story];
  if (story) {
    state.time = Math.min(1, story.began / figures.virtual_seconds);
    $('time').value = state.time * 1000;
  }
  timeMark();
  waterfall();
  ring();
}

function play() {
  if (state.playing) {
    cancelAnimationFrame(state.playing);
    state.playing = 0;
    $('play').textContent = '▶ play';
    return;
  }
  const story = stories[state.story];
  const lasts = Math.max(2500, Math.min(9000, (story ? story.took : 0) * 4));
  const begun = performance.now() - (state.instant < 1 ? state.instant : 0) * lasts;
  $('play').textContent = '❚❚ stop';
  const tick = (now) => {
    state.instant = Math.min(1, (now - begun) / lasts);
    $('instant').value = state.instant * 1000;
    waterfall();
    ring();
    if (state.instant < 1) state.playing = requestAnimationFrame(tick);
    else { state.playing = 0; $('play').textContent = '▶ play'; }
  };
  state.playing = requestAnimationFrame(tick);
}

// ---- charts

let timeFrame;

function timeline() {
  const most = Math.max(...moments.map((moment) => moment.up), 1);
  const least = Math.min(...moments.map((moment) => moment.up), most);
  const pad = Math.max((most - least) * 0.6, most * 0.012, 2);
  const end = figures.virtual_seconds;
  const steps = [0, 1, 2, 3, 4, 5, 6].map((part) => end * part / 6);
  timeFrame = frame('timeline', 190, [0, end], [Math.max(0, least - pad), most], steps, { x: clock, y: count, least: 1 });
  const { svg, x, y, height, bottom, top } = timeFrame;
  const base = height - bottom;
  const line = moments.map((moment) => `${x(moment.at).toFixed(1)} ${y(moment.up).toFixed(1)}`);
  el(svg, 'path', { d: `M${x(moments[0]?.at ?? 0)} ${base}L${line.join('L')}L${x(moments.at(-1)?.at ?? 0)} ${base}Z`, fill: 'var(--glow)' });
  el(svg, 'path', { d: `M${line.join('L')}`, fill: 'none', stroke: 'var(--one)', 'stroke-width': 2 });
  const flow = Math.max(...moments.map((moment) => Math.max(moment.came, moment.went)), 1);
  const bar = Math.max((x(end) - x(0)) / Math.max(moments.length, 1) / 2 - 1, 1);
  for (const moment of moments) {
    for (const [key, color, shift] of [['came', 'good', -bar], ['went', 'soft', 0]]) {
      const tall = moment[key] / flow * 44;
      el(svg, 'rect', { x: x(moment.at) + shift, y: base - tall, width: bar, height: tall, fill: `var(--${color})`, opacity: 0.75 });
    }
    if (moment.ended && moment.good < moment.ended) {
      const missed = 1 - moment.good / moment.ended;
      const dot = el(svg, 'circle', { cx: x(moment.at), cy: top - 2, r: Math.min(2 + missed * 40, 7), fill: 'var(--three)' });
      tell(dot, `${moment.ended - moment.good} of ${moment.ended} failed`);
    }
  }
  el(svg, 'line', { id: 'now', y1: top - 6, y2: base, stroke: 'var(--ink)', 'stroke-width': 1.5 });
  const cover = el(svg, 'rect', { x: x(0), y: 0, width: x(end) - x(0), height, fill: 'transparent' });
  cover.addEventListener('pointerdown', (event) => {
    const box = svg.getBoundingClientRect();
    setTime(Math.max(0, Math.min(1, (event.clientX - box.left - timeFrame.left) / (x(end) - x(0)))));
  });
  svg.dataset.marks = moments.length;
  legend('time-legend', [['var(--one)', 'nodes up'], ['var(--good)', 'came'], ['var(--soft)', 'went'], ['var(--three)', 'lookups failed']]);
  timeMark();
}

function timeMark() {
  const second = state.time * figures.virtual_seconds;
  const mark = document.getElementById('now');
  if (mark && timeFrame) {
    mark.setAttribute('x1', timeFrame.x(second));
    mark.setAttribute('x2', timeFrame.x(second));
  }
  const moment = moments.find((one) => one.at >= second) || moments.at(-1);
  if (!moment) return;
  const parts = [
    ['', clock(second)], ['up ', count(moment.up)], ['came ', moment.came], ['went ', moment.went],
    ['success ', moment.ended ? percent(moment.good / moment.ended) : '–'],
    ['p50 ', ms(moment.p50)], ['p95 ', ms(moment.p95)], ['messages/s ', count(moment.sent)],
  ];
  $('moment').replaceChildren(...parts.flatMap(([name, value]) => {
    const bold = document.createElement('b');
    bold.textContent = value;
    return [document.createTextNode(name), bold, document.createTextNode('   ')];
  }));
}

function setTime(share) {
  state.time = share;
  $('time').value = share * 1000;
  timeMark();
  ring();
}

function bars(id, series, xs, width, format) {
  const total = (columns) => columns.reduce((sum, column) => sum + column[1], 0) || 1;
  const shares = series.map(([columns]) => columns.map(([from, number]) => [from, number / total(columns), number]));
  const most = Math.max(...shares.flat().map((column) => column[1]), 0.01);
  const count4 = Math.min(xs.length, 6);
  const ticks = xs.filter((_, at) => at % Math.ceil(xs.length / count4) === 0);
  const { svg, x, y } = frame(id, 210, [xs[0], xs.at(-1) + width], [0, most], ticks, { x: format.x, shift: format.shift, y: (value) => percent(value, most < 0.1 ? 1 : 0) });
  let marks = 0;
  shares.forEach((columns, at) => {
    const color = series[at][1];
    const slot = (x(xs[0] + width) - x(xs[0])) / shares.length;
    columns.forEach(([from, share, number]) => {
      if (!number) return;
      const tall = y(0) - y(share);
      const thick = Math.max(slot - (slot > 6 ? 3 : 0.5), 1);
      const bar = el(svg, 'rect', { x: x(from) + slot * at, y: y(share), width: thick, height: Math.max(tall, 1), rx: Math.min(2, thick / 3), fill: `var(--${color})` });
      tell(bar, `${series[at][2]}, ${format.tip(from, from + width)}\n${count(number)} (${percent(share)})`);
      marks += 1;
    });
  });
  svg.dataset.marks = marks;
}

function histograms() {
  const seen = [...new Set([...data.hops, ...data.read_hops].map((column) => column[0]))].sort((a, b) => a - b);
  const names = [['var(--one)', 'lookups'], ['var(--two)', 'reads']];
  const whole = seen.length ? Array.from({ length: seen.at(-1) - seen[0] + 1 }, (_, at) => seen[0] + at) : [0];
  bars('hops', [[data.hops, 'one', 'Lookups'], [data.read_hops, 'two', 'Reads']], whole, 1, { x: String, shift: 0.5, tip: hops });
  const width = data.latency_width;
  const xs = data.latency.map((column) => column[0]);
  bars('latency', [[data.latency, 'one', 'Lookups'], [data.read_latency, 'two', 'Reads']], xs.length ? xs : [0], width, { x: ms, tip: (from, to) => (from === xs.at(-1) ? `${ms(from)} or more` : `${ms(from)} to ${ms(to)}`) });
  legend('hops-legend', names);
  legend('latency-legend', names);
  load();
}

function load() {
  const curve = data.load;
  const most = Math.max(...curve, 1);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  const { svg, x, y, high } = frame('load', 210, [0, 1], [0, most], ticks, { x: (value) => percent(value, 0), y: short });
  const place = (at) => x(at / Math.max(curve.length - 1, 1));
  const line = curve.map((value, at) => `${place(at).toFixed(1)} ${y(value).toFixed(1)}`).join('L');
  el(svg, 'path', { d: `M${x(0)} ${y(0)}L${line}L${x(1)} ${y(0)}Z`, fill: 'var(--glow)' });
  el(svg, 'path', { d: `M${line}`, fill: 'none', stroke: 'var(--one)', 'stroke-width': 2 });
  const mean = figures.load_mean;
  el(svg, 'line', { x1: x(0), x2: x(1), y1: y(mean), y2: y(mean), stroke: 'var(--three)', 'stroke-width': 1.5, 'stroke-dasharray': '5 4' });
  const cover = el(svg, 'rect', { x: x(0), y: y(high), width: x(1) - x(0), height: y(0) - y(high), fill: 'transparent' });
  tell(cover, (event) => {
    const box = svg.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left - x(0)) / (x(1) - x(0))));
    return `${percent(share, 0)} of the nodes got\nno more than ${count(curve[Math.round(share * (curve.length - 1))] || 0)} messages`;
  });
  svg.dataset.marks = curve.length;
  legend('load-legend', [['var(--one)', 'messages, nodes sorted'], ['var(--three)', `mean ${count(mean)}`]]);
}

function draw() {
  tiles();
  legend('regions', [
    ...data.regions.map((name, at) => [tint(at), name]),
    ...(setting.malicious ? [['transparent', 'lies', 'var(--bad)']] : []),
  ]);
  legend('story-legend', [
    ['var(--two)', 'came nearer'], ['var(--one)', 'answered'], ['var(--three)', 'no answer yet'], ['var(--ink)', 'asked again'],
    ...(setting.malicious ? [['var(--bad)', 'lies']] : []),
  ]);
  timeline();
  histograms();
  waterfall();
  ring();
  // Where the screenshot test is to look.
  for (const chart of document.querySelectorAll('[data-chart]')) {
    const box = chart.getBoundingClientRect();
    chart.dataset.rect = [box.left, box.top + scrollY, box.width, box.height].map(Math.round).join(' ');
  }
}

/// What the address asks for: `#theme=dark&story=3&time=0.25`, parts of the whole.
const address = new URLSearchParams(location.hash.slice(1));

function dress() {
  const asked = address.get('theme');
  const dark = asked ? asked === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.classList.toggle('dark', dark);
}

stories.forEach((story, at) => {
  const option = document.createElement('option');
  option.value = at;
  option.textContent = `${clock(story.began)} ${story.read ? 'read' : 'lookup'}, ${hops(story.hops)}, ${ms(story.took)}${story.good ? '' : ' (failed)'}`;
  $('stories').append(option);
});
$('stories').addEventListener('change', (event) => chooseStory(Number(event.target.value)));
$('previous').addEventListener('click', () => chooseStory(state.story - 1));
$('next').addEventListener('click', () => chooseStory(state.story + 1));
$('play').addEventListener('click', play);
$('instant').addEventListener('input', (event) => { state.instant = event.target.value / 1000; waterfall(); ring(); });
$('time').addEventListener('input', (event) => setTime(event.target.value / 1000));
$('ring').addEventListener('pointermove', overRing);
$('ring').addEventListener('pointerleave', hideTip);
$('theme').addEventListener('click', () => { root.classList.toggle('dark'); draw(); });
addEventListener('resize', draw);
// The one that has most to show, if none is asked for. Chosen before it is drawn: the panel is as tall as it needs.
const longest = stories.reduce((best, story, at) => (story.steps.length > stories[best].steps.length ? at : best), 0);
state.story = address.has('story') ? Number(address.get('story')) || 0 : longest;
dress();
draw();
chooseStory(state.story);
if (address.has('time')) setTime(Math.max(0, Math.min(1, Number(address.get('time')) || 0)));
root.dataset.ready = 'yes';
