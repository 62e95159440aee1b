// Perpduck's live chart: one Plotly figure that keeps its DOM node, zoom and hover while its
// data move. The server sends blocks and patches (wire.py); the view belongs to the browser.
// assets.py puts plotly.js, with what both kinds of figure share, before this text.

const charts = new WeakMap()   // parentElement -> Chart
const blocks = new Map()       // base id -> decoded full block
const KEPT_BLOCKS = 8
const SETTLE_MS = 220          // quiet time after a pan or zoom before the server is asked
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600,
  43200, 86400, 172800, 604800, 1209800, 2419200]
const MIN_SPAN_BARS = 12

// ---- messages -------------------------------------------------------------------------------

const TYPES = { f8: Float64Array, f4: Float32Array }

function part(buffer, at) {
  const size = new DataView(buffer).getUint32(at, true)
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, at + 4, size)))
  const start = at + 4 + size
  const column = ([type, offset, length]) => new TYPES[type](buffer, start + offset, length)
  return { header, column, start }
}

function readBlock(buffer, at) {
  const { header, column } = part(buffer, at)
  const traces = header.traces.map(({ static: fixed, columns }) => ({
    ...fixed, ...Object.fromEntries(Object.entries(columns).map(([k, v]) => [k, column(v)])),
  }))
  return { base: header.base, traces, layout: header.layout }
}

function joined(kept, tail) {
  const out = new tail.constructor(kept.length + tail.length)
  out.set(kept)
  out.set(tail, kept.length)
  return out
}

function patched(block, { header, column }) {
  const traces = block.traces.map((trace, i) => {
    const { drop, keep, columns } = header.changes[i]
    const next = { ...trace }
    for (const [name, place] of Object.entries(columns)) {
      next[name] = joined(trace[name].subarray(drop, drop + keep), column(place))
    }
    return next
  })
  return { traces, layout: { ...block.layout, ...header.layout } }
}

function receive(bytes) {
  const buffer = bytes.slice().buffer
  const { header: head, start } = part(buffer, 0)
  const patchAt = start
  if (patchAt + head.patch < buffer.byteLength) {
    const block = readBlock(buffer, patchAt + head.patch)
    blocks.set(block.base, block)
    while (blocks.size > KEPT_BLOCKS) blocks.delete(blocks.keys().next().value)
  }
  const patch = part(buffer, patchAt)
  const block = blocks.get(patch.header.base)
  return { head, base: patch.header.base, figure: block ? patched(block, patch) : null }
}

// ---- looks ----------------------------------------------------------------------------------

const grouped = new Map()
function number(value, decimals) {
  if (!Number.isFinite(value)) return "–"
  if (!grouped.has(decimals)) {
    grouped.set(decimals, new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals }))
  }
  return grouped.get(decimals).format(value)
}
// A sign where it is told, none where the digits shown are all zero.
function worded(value, { decimals = 2, signed = false, unit = "" }) {
  if (!Number.isFinite(value)) return "–"
  const isZero = Number(value.toFixed(decimals)) === 0
  const sign = isZero ? "" : value < 0 ? "−" : signed ? "+" : ""
  return sign + number(Math.abs(value), decimals) + unit
}
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 })

// ---- traces on a canvas -----------------------------------------------------------------------
// Plotly gives every candle and every bar a node of its own: 150 ms a refresh for 1,800 bars, and
// no smooth panning. It keeps the axes, the grid, the gestures and all other traces; candles,
// bars, lines, bands and marks are drawn by hand in the same coordinates, in 2 ms, at every step of a
// gesture.

const PAINTERS = {
  candlestick: (pen, trace, place) => paintCandles(pen, trace, place),
  bar: (pen, trace, place, stacks) => paintBars(pen, trace, place, stacks[trace.yaxis] ??= new Map()),
  band: (pen, trace, place) => paintBand(pen, trace, place),
  line: (pen, trace, place) => paintLine(pen, trace, place),
  marks: (pen, trace, place) => paintMarks(pen, trace, place),
}

// For Plotly one unseen point an axis is enough: it keeps the axis in the figure.
function lowered(traces, layout) {
  const held = new Set()
  return traces.flatMap((trace) => {
    if (!(trace.type in PAINTERS)) return [{ ...trace, hoverinfo: "skip" }]
    if (held.has(trace.yaxis)) return []
    held.add(trace.yaxis)
    const { range } = layout[`yaxis${trace.yaxis.slice(1)}`]
    return [{ type: "scatter", mode: "markers", opacity: 0, xaxis: trace.xaxis, yaxis: trace.yaxis,
      name: trace.name, x: [layout.xaxis.range[0]], y: [range?.[0] ?? 0], hoverinfo: "skip" }]
  })
}

function paintTraces(canvas, full, traces, view, meta, inks) {
  const ratio = window.devicePixelRatio || 1
  if (canvas.width !== Math.round(full.width * ratio)) canvas.width = Math.round(full.width * ratio)
  if (canvas.height !== Math.round(full.height * ratio)) canvas.height = Math.round(full.height * ratio)
  const pen = canvas.getContext("2d")
  pen.setTransform(ratio, 0, 0, ratio, 0, 0)
  pen.clearRect(0, 0, full.width, full.height)
  const bar = meta.timeframe_ms, left = full.margin.l, width = full.xaxis._length
  const inPanel = (id, paint) => {
    const axis = full[`yaxis${id.slice(1)}`]
    pen.save()
    pen.beginPath()
    pen.rect(left, axis._offset, width, axis._length)
    pen.clip()
    paint(axis)
    pen.restore()
  }
  for (const id of meta.hatched ?? []) {
    inPanel(id, (axis) => paintHatch(pen, left, axis._offset, width, axis._length, inks))
  }
  const stacks = {}
  for (const trace of traces) {
    const painter = PAINTERS[trace.type]
    if (!painter) continue
    inPanel(trace.yaxis, (axis) => {
      const [low, high] = axis.range
      pen.globalAlpha = trace.opacity ?? 1
      painter(pen, trace, { bar, forming: meta.forming_from_ms ?? Infinity, ground: inks.background,
        px: (ms) => left + (ms - view.from) / (view.to - view.from) * width,
        py: (value) => axis._offset + (1 - (value - low) / (high - low)) * axis._length,
        width, top: axis._offset, foot: axis._offset + axis._length,
        from: Math.max(0, firstAtLeast(trace.x, view.from - bar)),
        to: firstAtLeast(trace.x, view.to) }, stacks)
    })
  }
}

// In-sample: so light that lines read well, and stripes, so that it does not hang on colour.
function paintHatch(pen, left, top, width, height, inks) {
  const stripes = new Path2D()
  for (let x = left - height; x < left + width; x += 9) {
    stripes.moveTo(x, top + height)
    stripes.lineTo(x + height, top)
  }
  pen.globalAlpha = inks.name === "dark" ? 0.42 : 0.24
  pen.lineWidth = 1
  pen.strokeStyle = inks.in_sample
  pen.stroke(stripes)
}

const DASHES = { solid: [], dash: [5, 4], dot: [1.5, 3] }

// The points to draw, and one more on either side, so that lines run out of the panel. Points
// stand in the middle of their bar, where the crosshair stands.
function reach({ x, y, connect }, { from, to }) {
  let first = Math.max(0, from - 1), last = Math.min(x.length, to + 1)
  if (connect) {
    while (first > 0 && y[first] !== y[first]) first--
    while (last < x.length && y[last - 1] !== y[last - 1]) last++
  }
  return { first, last }
}

function paintLine(pen, trace, place) {
  const { x, y, line, connect } = trace
  const { first, last } = reach(trace, place)
  const path = new Path2D()
  let drawing = false
  for (let i = first; i < last; i++) {
    if (y[i] !== y[i]) { drawing &&= Boolean(connect); continue }
    const px = place.px(x[i] + place.bar / 2), py = place.py(y[i])
    if (!drawing) path.moveTo(px - 0.01, py)   // a point between two gaps is a dot
    path.lineTo(px, py)
    drawing = true
  }
  pen.strokeStyle = line.color
  // More points than pixels: a fine line, or peaks run into one another.
  const isDense = last - first > 0.8 * place.width
  pen.lineWidth = isDense ? Math.min(1, line.width) : line.width
  pen.lineJoin = "round"
  pen.lineCap = line.dash ? "butt" : "round"
  pen.setLineDash(DASHES[line.dash ?? "solid"] ?? [])
  pen.stroke(path)
  pen.setLineDash([])
  if (trace.meta?.beyond) paintPeaks(pen, trace, place, first, last)
  if (trace.hollow) paintProvisional(pen, trace, place, last)
}

// A small triangle at the peak of every run beyond the threshold, pointing away from zero; of
// peaks on one side that would touch, the highest has it.
const APART_PX = 10
function paintPeaks(pen, trace, place, first, last) {
  const { x, y, line, meta } = trace
  const peaks = { "1": [], "-1": [] }
  for (let i = first; i < last; i++) {
    const size = Math.abs(y[i])
    if (!(size >= meta.beyond)) continue
    const px = place.px(x[i] + place.bar / 2), side = peaks[Math.sign(y[i])], before = side.at(-1)
    const isSame = before && (before.until === i - 1 || px - before.px < APART_PX)
    if (!isSame) side.push({ px, size, value: y[i], until: i })
    else Object.assign(before, { until: i }, size > before.size ? { px, size, value: y[i] } : {})
  }
  const marks = new Path2D()
  for (const { px, value } of [...peaks["1"], ...peaks["-1"]]) {
    const way = value > 0 ? -1 : 1
    const py = Math.min(Math.max(place.py(value) + 4 * way, place.top + 6), place.foot - 6)
    marks.moveTo(px - 3.5, py)
    marks.lineTo(px + 3.5, py)
    marks.lineTo(px, py + 6 * way)
    marks.closePath()
  }
  pen.fillStyle = line.color
  pen.fill(marks)
}

function paintProvisional(pen, { x, y, line }, place, last) {
  for (let i = last - 1; i >= 0 && x[i] >= place.forming; i--) {
    if (y[i] !== y[i]) continue
    pen.beginPath()
    pen.arc(place.px(x[i] + place.bar / 2), place.py(y[i]), 3, 0, 2 * Math.PI)
    pen.fillStyle = place.ground
    pen.fill()
    pen.lineWidth = 1.5
    pen.stroke()
  }
}

// What was done where: bought, sold, out, stopped. Where marks would touch they are smaller.
const MARKS = {
  up: (path, x, y, r) => { path.moveTo(x, y); path.lineTo(x - r, y + 1.6 * r); path.lineTo(x + r, y + 1.6 * r); path.closePath() },
  down: (path, x, y, r) => { path.moveTo(x, y); path.lineTo(x - r, y - 1.6 * r); path.lineTo(x + r, y - 1.6 * r); path.closePath() },
  exit: (path, x, y, r) => { path.moveTo(x + 0.8 * r, y); path.arc(x, y, 0.8 * r, 0, 2 * Math.PI) },
  stop: (path, x, y, r) => {
    path.moveTo(x - r, y - r); path.lineTo(x + r, y + r); path.moveTo(x - r, y + r); path.lineTo(x + r, y - r)
  },
}
function paintMarks(pen, { x, y, marker }, place) {
  const room = place.width / Math.max(place.to - place.from, 1)
  const size = Math.min(4.5, Math.max(1.2, room / 2))
  const path = new Path2D()
  for (let i = place.from; i < place.to; i++) {
    MARKS[marker.sign](path, place.px(x[i] + place.bar / 2), place.py(y[i]), size)
  }
  pen.lineWidth = size < 2 ? 0.7 : 1.4
  pen.strokeStyle = marker.color
  pen.fillStyle = marker.sign === "exit" ? place.ground : marker.color
  if (marker.sign !== "stop") pen.fill(path)
  pen.stroke(path)
}

function paintBand(pen, trace, place) {
  const { x, low, high } = trace
  const { first, last } = reach({ x, y: low }, place)
  const area = new Path2D()
  for (let i = first; i < last;) {
    if (low[i] !== low[i] || high[i] !== high[i]) { i++; continue }
    const begin = i
    for (; i < last && low[i] === low[i] && high[i] === high[i]; i++) {
      const px = place.px(x[i] + place.bar / 2)
      if (i === begin) area.moveTo(px, place.py(high[i]))
      else area.lineTo(px, place.py(high[i]))
    }
    for (let k = i - 1; k >= begin; k--) area.lineTo(place.px(x[k] + place.bar / 2), place.py(low[k]))
    area.closePath()
  }
  pen.fillStyle = trace.fillcolor
  pen.fill(area)
}

// Edges on whole pixels where there is room for it: sharp candles, even gaps.
function edges(place, ms, share) {
  const left = place.px(ms), right = place.px(ms + place.bar)
  const width = right - left
  if (width < 3) return { left, width: Math.max(width * share, 0.7), middle: (left + right) / 2 }
  const body = Math.max(1, Math.round(width * share))
  const middle = Math.round((left + right) / 2)
  return { left: middle - Math.floor(body / 2), width: body, middle: middle + (body % 2 ? 0.5 : 0) }
}

function paintCandles(pen, trace, place) {
  const { x, open, high, low, close } = trace
  for (const [rising, kind] of [[true, trace.increasing], [false, trace.decreasing]]) {
    const wicks = new Path2D(), bodies = new Path2D()
    for (let i = place.from; i < place.to; i++) {
      if (close[i] >= open[i] !== rising) continue
      const { left, width, middle } = edges(place, x[i], 0.72)
      const head = place.py(Math.max(open[i], close[i])), foot = place.py(Math.min(open[i], close[i]))
      wicks.moveTo(middle, place.py(high[i]))
      wicks.lineTo(middle, place.py(low[i]))
      bodies.rect(left, head, width, Math.max(foot - head, 1))
    }
    pen.lineWidth = 1
    pen.strokeStyle = kind.line.color
    pen.stroke(wicks)
    const wide = place.px(place.bar) - place.px(0) > 5
    pen.fillStyle = wide ? kind.fillcolor : kind.line.color
    pen.fill(bodies)
    if (wide) pen.stroke(bodies)
  }
}

function paintBars(pen, trace, place, bases) {
  const { x, y } = trace
  pen.fillStyle = trace.marker.color
  for (let i = place.from; i < place.to; i++) {
    const base = bases.get(x[i]) ?? 0
    if (!(y[i] > 0)) continue
    bases.set(x[i], base + y[i])
    const { left, width } = edges(place, x[i], 0.72)
    const head = place.py(base + y[i])
    pen.fillRect(left, head, width, place.py(base) - head)
  }
}

// ---- time -----------------------------------------------------------------------------------

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ")
const two = (n) => String(n).padStart(2, "0")

// Milliseconds to add to UTC for the wall clock at that instant: daylight saving included.
const shiftAt = (ms, zone) => zone === "local" ? -new Date(ms).getTimezoneOffset() * 60000 : 0

function clock(ms, zone, step) {
  const wall = new Date(ms + shiftAt(ms, zone))
  const day = `${wall.getUTCDate()} ${MONTHS[wall.getUTCMonth()]}`
  const minutes = `${two(wall.getUTCHours())}:${two(wall.getUTCMinutes())}`
  const time = step < 60 ? `${minutes}:${two(wall.getUTCSeconds())}` : minutes
  return { day, time, midnight: wall.getUTCHours() + wall.getUTCMinutes() === 0 }
}

function zoneName(zone, ms) {
  if (zone !== "local") return "UTC"
  const minutes = -new Date(ms).getTimezoneOffset()
  const hours = `${Math.floor(Math.abs(minutes) / 60)}`
  const rest = minutes % 60 ? `:${two(Math.abs(minutes) % 60)}` : ""
  return `UTC${minutes < 0 ? "−" : "+"}${hours}${rest}`
}

function ticks(from, to, width, zone) {
  const fits = Math.max(2, Math.floor(width / 92))
  const step = STEPS_S.find((s) => (to - from) / 1000 / s <= fits) ?? STEPS_S.at(-1)
  const ms = step * 1000
  const values = [], texts = []
  // A view's width to either side too, so that panning does not run out of labels.
  let wall = Math.floor((2 * from - to + shiftAt(2 * from - to, zone)) / ms) * ms
  for (let i = 0; i < 6 * fits; i++, wall += ms) {
    let at = wall - shiftAt(wall, zone)
    at = wall - shiftAt(at, zone)
    if (at > 2 * to - from) break
    if (values.length && at <= values.at(-1)) continue
    const { day, time, midnight } = clock(at, zone, step)
    const inner = from + 0.03 * (to - from)
    const first = at >= inner && !(values.at(-1) >= inner)
    texts.push(step >= 86400 ? day : midnight || first ? `${time}<br><b>${day}</b>` : time)
    values.push(at)
  }
  return { values, texts }
}

// ---- the chart ------------------------------------------------------------------------------

const BUTTONS = [
  ["out", "−", "Zoom out (−)"], ["in", "+", "Zoom in (+)"],
  ["reset", "⟲", "Back to the chosen range (double-click or Escape)"],
]

class Chart {
  constructor(parent) {
    this.parent = parent
    this.root = parent.querySelector(".pd-chart")
    this.plot = this.root.querySelector(".pd-plot")
    this.canvas = this.root.querySelector("canvas")
    this.lines = this.root.querySelector(".pd-lines")
    this.view = null
    this.pointer = null
    this.busyUntil = 0
    this.renders = 0
    this.addButtons()
    this.listen()
  }

  addButtons() {
    const bar = this.root.querySelector(".pd-tools")
    for (const [name, text, title] of BUTTONS) {
      const button = document.createElement("button")
      Object.assign(button, { type: "button", textContent: text, title, className: `pd-${name}` })
      button.setAttribute("aria-label", title)
      button.onclick = () => this.command(name)
      bar.append(button)
    }
    this.live = this.root.querySelector(".pd-live")
    this.live.onclick = () => this.command("live")
  }

  listen() {
    const { root } = this
    root.addEventListener("pointermove", (e) => this.hover(e))
    root.addEventListener("pointerleave", () => { this.pointer = null; this.point() })
    root.addEventListener("wheel", () => { this.busyUntil = performance.now() + 350 },
      { passive: true, capture: true })
    this.plot.addEventListener("pointerdown", () => { this.dragging = true }, true)
    this.up = () => { this.dragging = false; this.later() }
    this.shown = () => { if (!document.hidden) this.later(0) }
    this.sized = () => this.later(0)
    window.addEventListener("pointerup", this.up, true)
    window.addEventListener("resize", this.sized)
    document.addEventListener("visibilitychange", this.shown)
    root.addEventListener("keydown", (e) => this.key(e))
    this.observer = new ResizeObserver(() => {
      if (root.clientWidth !== this.width) this.later(0)
    })
    this.observer.observe(root)
  }

  close() {
    window.removeEventListener("pointerup", this.up, true)
    window.removeEventListener("resize", this.sized)
    document.removeEventListener("visibilitychange", this.shown)
    this.observer.disconnect()
    clearTimeout(this.timer)
    clearTimeout(this.asking)
    if (window.Plotly) window.Plotly.purge(this.plot)
  }

  // -- from the server --

  async take(component) {
    this.component = component
    const bytes = component.data
    if (!bytes?.length) return
    const { head, base, figure } = receive(bytes)
    if (!figure) {
      if (this.missing !== base) component.setTriggerValue("resync", base)
      this.missing = base
      return
    }
    this.missing = null
    this.head = head
    this.figure = figure
    if (!this.view || this.view.nonce !== head.nonce) {
      this.view = { nonce: head.nonce, preset: true, follow: true, from: 0, to: 0 }
    }
    const theme = themeOf(this.parent.host ?? this.root)
    this.theme = theme
    this.later(0)
  }

  later(wait = 60) {
    clearTimeout(this.timer)
    const busy = Math.max(wait, this.busyUntil - performance.now())
    this.timer = setTimeout(() => this.render(), Math.max(0, busy))
  }

  // -- the view --

  bounds() {
    let first = Infinity, last = -Infinity
    for (const { x } of this.figure.traces) {
      if (x.length) { first = Math.min(first, x[0]); last = Math.max(last, x[x.length - 1]) }
    }
    return { first, last: last + this.figure.layout.meta.timeframe_ms }
  }

  place() {
    const { view, head } = this
    const bar = this.figure.layout.meta.timeframe_ms
    const { first, last } = this.bounds()
    if (!Number.isFinite(last)) return
    if (view.preset) {
      const begin = Math.max(last - head.span, first - 2 * bar)
      const from = Math.min(begin, last - Math.min(60 * bar, head.span))
      view.from = from
      view.to = last + Math.max(bar, 0.02 * (last - from))
    } else if (view.follow) {
      const span = view.to - view.from
      view.to = last + Math.max(bar, 0.02 * span)
      view.from = view.to - span
    }
  }

  move(from, to, { settle = true } = {}) {
    const bar = this.figure.layout.meta.timeframe_ms
    if (to - from < MIN_SPAN_BARS * 1000) {
      const middle = (from + to) / 2
      from = middle - MIN_SPAN_BARS * 500
      to = middle + MIN_SPAN_BARS * 500
    }
    const { last } = this.bounds()
    const follow = to >= last - 0.01 * (to - from) && from < last && this.head.end <= last + bar
    Object.assign(this.view, { preset: false, follow, from, to })
    this.later(0)
    if (settle) this.ask()
  }

  ask() {
    clearTimeout(this.asking)
    this.asking = setTimeout(() => {
      const { nonce, preset, follow, from, to } = this.view
      const grain = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, to - from))) - 2)
      const round = (ms) => Math.round(ms / grain) * grain
      this.component.setStateValue("view",
        { nonce, preset, follow, from: round(from), to: round(to) })
    }, SETTLE_MS)
  }

  command(name) {
    const { view } = this
    if (!view || !this.figure) return
    const span = view.to - view.from
    if (name === "reset" || name === "live") {
      if (name === "live" && !view.preset) {
        const { last } = this.bounds()
        Object.assign(view, { follow: true, from: last - span, to: last })
        if (last < this.head.end) view.preset = true
      } else {
        Object.assign(view, { preset: true, follow: true })
      }
      this.later(0)
      this.ask()
    } else if (name === "in" || name === "out") {
      const factor = name === "in" ? 0.6 : 1 / 0.6
      const anchor = view.follow ? view.to : (view.from + view.to) / 2
      const share = (anchor - view.from) / span
      this.move(anchor - span * factor * share, anchor + span * factor * (1 - share))
    } else {
      const by = span * (name === "left" ? -0.2 : 0.2)
      this.move(view.from + by, view.to + by)
    }
  }

  key(event) {
    const names = { ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out",
      Escape: "reset", Home: "reset", End: "live" }
    const name = names[event.key]
    if (!name || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    this.command(name)
  }

  // -- drawing --

  height() {
    const { panels = 1, panel_px: least = [270, 240] } = this.figure.layout.meta
    const narrow = window.innerWidth < 640
    const top = this.root.getBoundingClientRect().top + window.scrollY
    const leastPx = least[narrow ? 1 : 0]
    const room = narrow ? window.innerHeight * 0.62 : window.innerHeight - top - 96
    return Math.round(Math.max(narrow ? 360 : 380, room, panels * leastPx))
  }

  scales(layout, narrow) {
    const { from, to } = this.view
    const ends = {}
    const legs = {}
    const stacks = {}
    for (const trace of this.figure.traces) {
      const { x } = trace
      if (trace.meta?.base) legs[trace.yaxis] = (legs[trace.yaxis] ?? 0) + 1
      const low = trace.low ?? trace.y, high = trace.high ?? trace.y
      const end = ends[trace.yaxis] ??= { low: Infinity, high: -Infinity, bars: false }
      const heights = trace.type === "bar" ? stacks[trace.yaxis] ??= new Map() : null
      for (let i = firstAtLeast(x, from); i < x.length && x[i] <= to; i++) {
        if (heights) {
          const sum = (heights.get(x[i]) ?? 0) + (trace.y[i] || 0)
          heights.set(x[i], sum)
          end.bars = true
          end.low = Math.min(end.low, 0)
          end.high = Math.max(end.high, sum)
        } else {
          if (low[i] < end.low) end.low = low[i]
          if (high[i] > end.high) end.high = high[i]
        }
      }
    }
    const inner = layout.height - layout.margin.t - layout.margin.b
    const { axes = {} } = layout.meta
    for (const [axis, end] of Object.entries(ends)) {
      const { low, high, bars } = axes[axis] ? asked(end, axes[axis]) : end
      if (low > high) continue
      const room = high - low || Math.abs(high) * 1e-4 || 1
      const name = `yaxis${axis.slice(1)}`
      const [foot, head] = layout[name].domain ?? [0, 1]
      // The readout stands in the top pixels, two rows of them for prices on a phone; lines keep
      // clear of it.
      const above = Math.min(0.6, (legs[axis] > 1 && narrow ? 54 : 30) / ((head - foot) * inner))
      layout[name] = { ...layout[name], autorange: false,
        range: bars ? [0, high * 1.06 || 1] : [low - 0.05 * room, high + (0.02 + above) * room] }
    }
  }

  async render() {
    if (!this.figure || document.hidden) return
    if (this.dragging) return this.later(200)
    const Plotly = await loadPlotly()
    if (!this.root.isConnected) return
    this.place()
    const { view, theme, head } = this
    this.width = this.root.clientWidth
    const height = this.height()
    const layout = painted(structuredClone(this.figure.layout), theme.inks)
    const narrow = this.width < 560
    layout.annotations = layout.annotations.filter((note) => note.name !== "title")
    layout.font = { ...layout.font, family: theme.font || "sans-serif", size: narrow ? 11 : 12 }
    if (narrow) layout.margin = { ...layout.margin, l: 4, r: 66 }
    const inner = this.width - layout.margin.l - layout.margin.r
    const { values, texts } = ticks(view.from, view.to, inner, head.zone)
    layout.xaxis = { ...layout.xaxis, range: [view.from, view.to], autorange: false,
      tickmode: "array", tickvals: values, ticktext: texts, showspikes: false }
    Object.assign(layout, { width: this.width, height, hovermode: false })
    this.scales(layout, narrow)
    parted(layout)
    this.root.style.height = `${height}px`
    this.inked = this.figure.traces.map((trace) => painted(trace, theme.inks))
    const data = lowered(this.inked, layout)
    const began = performance.now()
    await Plotly.react(this.plot, data, layout,
      { displayModeBar: false, scrollZoom: true, doubleClick: false, responsive: false })
    if (!this.wired) this.wire()
    this.paint()
    this.renders += 1
    this.root.dataset.ms = Math.round(performance.now() - began)
    this.dress()
    this.point()
  }

  paint() {
    const full = this.plot._fullLayout
    paintTraces(this.canvas, full, this.inked, this.view, this.figure.layout.meta,
      { ...this.theme.inks, name: this.theme.name })
  }

  // A gesture in progress: the axes are Plotly's, what is drawn by hand follows them.
  gesture() {
    const axis = this.plot._fullLayout.xaxis
    const [from, to] = axis.range.map((end) => axis.r2l(end))
    if (!(from < to)) return
    this.lines.hidden = true
    Object.assign(this.view, { from, to })
    this.paint()
  }

  wire() {
    this.wired = true
    this.plot.on("plotly_relayout", (change) => {
      const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0]
      const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1]
      if (from === undefined || to === undefined) return
      const axis = this.plot._fullLayout.xaxis
      this.move(axis.r2l(from), axis.r2l(to))
    })
    this.plot.on("plotly_relayouting", () => this.gesture())
    this.plot.on("plotly_doubleclick", () => this.command("reset"))
    this.plot.addEventListener("dblclick", () => this.command("reset"))
  }

  dress() {
    const { root, head, view } = this
    const { first, last } = this.bounds()
    root.classList.toggle("pd-dark", this.theme.name === "dark")
    root.classList.toggle("pd-stale", Boolean(head.stale))
    for (const [name, ink] of Object.entries(this.theme.inks)) {
      root.style.setProperty(`--pd-${name}`, ink)
    }
    root.querySelector(".pd-note").textContent = head.note ?? ""
    root.querySelector(".pd-age").textContent = head.stale ?? ""
    root.querySelector(".pd-zone").textContent = root.dataset.zone = zoneName(head.zone, view.to)
    this.live.hidden = view.follow
    root.querySelector(".pd-reset").disabled = view.preset
    Object.assign(root.dataset, { renders: this.renders, from: Math.round(view.from),
      to: Math.round(view.to), follow: view.follow, preset: view.preset, first, last,
      timeframe: this.figure.layout.meta.timeframe_ms / 1000, theme: this.theme.name,
      bars: this.figure.traces.reduce((n, t) => n + (t.close ? t.x.length : 0), 0),
      points: this.figure.traces.reduce((n, t) => Math.max(n, t.x.length), 0) })
    root.classList.toggle("pd-stacked", Boolean(this.figure.layout.meta.axes))
  }

  // -- crosshair and readout --

  hover(event) {
    const box = this.plot.getBoundingClientRect()
    this.pointer = { x: event.clientX - box.left, y: event.clientY - box.top }
    if (this.frame) return
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.point() })
  }

  point() {
    const full = this.plot._fullLayout
    if (!full?.xaxis || !this.figure) return
    const { l, t } = full.margin
    const axis = full.xaxis
    const inside = this.pointer && this.pointer.x >= l && this.pointer.x <= l + axis._length
      && this.pointer.y >= t && this.pointer.y <= full.height - full.margin.b
    const at = inside ? axis.p2l(this.pointer.x - l) : null
    const bar = this.figure.layout.meta.timeframe_ms
    const snapped = inside ? this.nearest(at, bar) : null
    this.readouts(full, snapped)
    this.lines.hidden = !inside || this.dragging
    if (!inside) { delete this.root.dataset.hover; return }
    const x = l + axis.l2p(snapped === null ? at : snapped + bar / 2)
    const shown = clock(snapped ?? at, this.head.zone, bar / 1000)
    place(this.root.querySelector(".pd-v"), { left: x, top: t, height: full.height - t - full.margin.b })
    const stamp = this.root.querySelector(".pd-x")
    stamp.textContent = bar >= 86400000 ? shown.day : `${shown.day} ${shown.time}`
    place(stamp, { left: Math.min(Math.max(x, 60), full.width - 60), top: full.height - full.margin.b + 4 })
    this.root.dataset.hover = stamp.textContent
    this.level(full)
  }

  level(full) {
    const { t, l } = full.margin
    const line = this.root.querySelector(".pd-h"), label = this.root.querySelector(".pd-y")
    const axes = Object.keys(full).filter((k) => /^yaxis\d*$/.test(k)).map((k) => full[k])
    const axis = axes.find((a) => this.pointer.y - t >= a._offset - t
      && this.pointer.y - t <= a._offset - t + a._length)
    line.hidden = label.hidden = !axis
    if (!axis) return
    const value = axis.p2l(this.pointer.y - axis._offset)
    const trace = this.figure.traces.find((one) => one.yaxis === axis._id)
    const facts = this.figure.layout.meta.axes?.[axis._id]
    label.textContent = facts ? worded(value, facts) : trace?.meta?.volume ? compact.format(value)
      : number(value, trace?.meta?.decimals ?? 2)
    place(line, { left: l, top: this.pointer.y, width: full.xaxis._length })
    place(label, { left: l + full.xaxis._length, top: this.pointer.y })
  }

  nearest(at, bar) {
    let best = null
    for (const { x } of this.figure.traces) {
      const i = firstAtLeast(x, at)
      for (const value of [x[i - 1], x[i]]) {
        if (value === undefined) continue
        const off = Math.abs(value + bar / 2 - at)
        if (best === null || off < Math.abs(best + bar / 2 - at)) best = value
      }
    }
    const within = this.figure.layout.meta.snap_ms ?? 3 * bar
    return best !== null && Math.abs(best - at) <= within ? best : null
  }

  readouts(full, at) {
    const holder = this.root.querySelector(".pd-readouts")
    const rows = readoutRows(this.figure, at)
    while (holder.children.length > rows.length) holder.lastChild.remove()
    rows.forEach((row, i) => {
      const line = holder.children[i] ?? holder.appendChild(document.createElement("div"))
      const axis = full[`yaxis${row.axis.slice(1)}`]
      line.style.top = `${axis._offset + 2}px`
      line.style.left = `${full.margin.l + 4}px`
      line.style.maxWidth = `${full.xaxis._length - 8}px`
      const html = row.title ?? `<b class="pd-leg${i}">${row.label}</b>${row.html}`
      if (line.innerHTML !== html) line.innerHTML = html
    })
  }
}

function readoutRows({ traces, layout }, at) {
  if (layout.meta.axes) return panelRows(traces, layout.meta, at)
  const rows = []
  for (const trace of traces) {
    if (trace.meta?.volume) {
      const row = rows.at(-1)
      const i = pick(trace.x, at)
      if (row && i >= 0) (row.sizes ??= []).push(trace.y[i])
      continue
    }
    const i = pick(trace.x, at)
    const found = rows.find((row) => row.axis === trace.yaxis)
    if (i < 0) { if (!found) rows.push(emptyRow(trace)); continue }
    const row = { axis: trace.yaxis, label: escaped(trace.meta?.label ?? trace.name), html: "" }
    row.html = trace.close ? candleText(trace, i) : item("", number(trace.y[i], trace.meta?.decimals ?? 4))
    if (trace.meta?.forming) row.html += ` <i title="This bar is still forming">forming</i>`
    if (!found) rows.push(row)
    else if (trace.close) Object.assign(found, row)
    else found.html += row.html
  }
  // Buys, sells, and where no side is known, the volume alone.
  for (const row of rows.filter((one) => one.sizes)) {
    const total = row.sizes.reduce((sum, size) => sum + (size || 0), 0)
    const share = total && row.sizes[0] >= 0 ? `${(100 * row.sizes[0] / total).toFixed(0)}%` : "–"
    row.html += item("V", compact.format(total), "pd-wide") + item("buy", share, "pd-wide")
  }
  return rows
}

// A panel of lines: its title, then the values under the crosshair in the colours of their lines.
function panelRows(traces, meta, at) {
  return Object.entries(meta.axes).map(([axis, facts], number) => {
    const lines = traces.filter((trace) => trace.yaxis === axis && !trace.meta?.silent)
    const first = lines[0] ? pick(lines[0].x, at) : -1
    const isForming = first >= 0 && lines[0].x[first] >= (meta.forming_from_ms ?? Infinity)
    const inSample = meta.hatched?.includes(axis)
      ? `<i class="pd-in-sample" title="Fitted on the whole range shown: it knows its future">in-sample</i>`
      : ""
    const note = facts.note ? `<i class="pd-wide">${escaped(facts.note)}</i>` : ""
    const mark = facts.mark ? `<i>${escaped(facts.mark)}</i>` : ""
    // What the panel is about first, then what lies around it.
    const order = [...lines].sort((a, b) => rank(a) - rank(b))
    const values = order.map((trace) => panelValue(trace, facts, pick(trace.x, at)))
    const forming = !number && isForming
      ? `<i title="This bar is still forming: its values are provisional">forming</i>` : ""
    return { axis, title: `<b>${escaped(facts.title)}</b>${note}${mark}${inSample}${values.join("")}${forming}` }
  })
}

const rank = (trace) => trace.hollow ? 0 : trace.type === "band" ? 2 : 1

function panelValue(trace, facts, i) {
  const { type, y, low, high, line, meta } = trace
  const tag = meta?.base ? "b" : "em"
  const label = meta?.label ? `<${tag}>${escaped(meta.label)}</${tag}> ` : ""
  if (type === "band") {
    const half = i < 0 ? NaN : (high[i] - low[i]) / 2
    const text = worded(half, { ...facts, signed: false, unit: "" })
    return `<span class="pd-wide">${label}${text}</span>`
  }
  const value = i < 0 ? NaN : y[i]
  let text = worded(value, trace.hollow ? facts : { ...facts, unit: "" })
  if (meta.base && Number.isFinite(value)) {
    text += ` <em class="pd-price">${number(meta.base * (1 + value / 100), meta.base_decimals)}</em>`
  }
  if (Math.abs(value) >= meta.beyond) {
    text += ` ${value > 0 ? "▲" : "▼"} ${escaped(meta.beyond_word ?? "")}`
  }
  const kind = trace.hollow ? "" : "pd-wide"
  return `<span class="${kind}" style="color: var(--pd-${line.color.slice(1)})">${label}${text}</span>`
}

const emptyRow = (trace) => ({ axis: trace.yaxis, label: escaped(trace.meta?.label ?? ""), html: "" })

// The point at that time, or the last one where no time is asked for; -1 where there is none.
function pick(x, at) {
  if (at === null) return x.length - 1
  const i = firstAtLeast(x, at)
  return x[i] === at ? i : -1
}

function candleText({ open, high, low, close, meta }, i) {
  const rise = 100 * (close[i] / open[i] - 1)
  const way = rise > 0 ? "pd-up" : rise < 0 ? "pd-down" : ""
  const text = `${rise > 0 ? "▲ +" : rise < 0 ? "▼ −" : ""}${Math.abs(rise).toFixed(2)}%`
  return item("O", number(open[i], meta.decimals), "pd-wide") + item("H", number(high[i], meta.decimals))
    + item("L", number(low[i], meta.decimals)) + item("C", number(close[i], meta.decimals))
    + `<span class="${way}">${text}</span>`
}

const item = (name, value, kind = "") => `<span class="${kind}"><em>${name}</em>${value}</span>`
const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)

function place(element, box) {
  for (const [key, value] of Object.entries(box)) element.style[key] = `${value}px`
}

function firstAtLeast(x, value) {
  let low = 0, high = x.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (x[middle] < value) low = middle + 1
    else high = middle
  }
  return low
}

// What a panel of lines says of its range: fixed, or with values that must stay in sight, or so
// much of it at least. Without a value in view it still has one.
function asked(end, { range, include = [], min_span: least = 0 }) {
  if (range) return { low: range[0], high: range[1] }
  let low = Math.min(end.low, ...include), high = Math.max(end.high, ...include)
  if (low > high) return { low: -1, high: 1 }
  const missing = least - (high - low)
  if (missing > 0) { low -= missing / 2; high += missing / 2 }
  return { low, high }
}

// Labels at the right edge of one panel that would cover each other move apart.
const LABEL_PX = 19
function parted(layout) {
  const inner = layout.height - layout.margin.t - layout.margin.b
  const panels = {}
  for (const note of layout.annotations) if (note.name === "last") (panels[note.yref] ??= []).push(note)
  for (const [axis, notes] of Object.entries(panels)) {
    const { range, domain } = layout[`yaxis${axis.slice(1)}`]
    if (notes.length < 2 || !range) continue
    const scale = inner * (domain[1] - domain[0]) / (range[1] - range[0])
    const [upper, lower] = notes.sort((a, b) => b.y - a.y)
    const missing = LABEL_PX - (upper.y - lower.y) * scale
    if (missing <= 0) continue
    upper.yshift = missing / 2
    lower.yshift = -missing / 2
  }
}

export default function (component) {
  dressed()
  kept(charts, component.parentElement, Chart).take(component)
  return () => ended(charts, component.parentElement)
}
