// What every figure needs in the browser: Plotly itself, the theme's inks, one style sheet.
// assets.py puts `PALETTE`, `CSS` and `PLOTLY_URL` before this text, and a figure's own code after.

let plotlyPromise = null

function loadPlotly() {
  plotlyPromise ??= window.Plotly ? Promise.resolve(window.Plotly) : new Promise((done, fail) => {
    const tag = document.createElement("script")
    tag.src = PLOTLY_URL
    tag.onload = () => done(window.Plotly)
    tag.onerror = () => { plotlyPromise = null; fail(new Error("plotly.min.js did not load")) }
    document.head.appendChild(tag)
  })
  return plotlyPromise
}

function themeOf(element) {
  const style = getComputedStyle(element)
  const background = style.getPropertyValue("--st-background-color").trim() || "#ffffff"
  const probe = document.createElement("canvas").getContext("2d")
  probe.fillStyle = background
  probe.fillRect(0, 0, 1, 1)
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data
  const name = 0.2126 * r + 0.7152 * g + 0.0722 * b < 128 ? "dark" : "light"
  return { name, inks: { ...PALETTE[name], background }, font: style.getPropertyValue("--st-font") }
}

function painted(value, inks) {
  if (typeof value === "string") return value[0] === "$" ? inks[value.slice(1)] ?? value : value
  if (ArrayBuffer.isView(value)) return value
  if (Array.isArray(value)) return value.map((item) => painted(item, inks))
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, inks)]))
  }
  return value
}

function dressed() {
  if (document.getElementById("pd-style")) return
  const style = document.createElement("style")
  style.id = "pd-style"
  style.textContent = CSS
  document.head.append(style)
}


// Streamlit ends and repeats a component's call whenever its data or the theme change, also calls
// that are still fetching their script. So a figure lives as long as its nodes, not as a call.
function kept(figures, parent, Kind) {
  const old = figures.get(parent)
  if (old?.root.isConnected) return old
  old?.close()
  const figure = new Kind(parent)
  figures.set(parent, figure)
  return figure
}

function ended(figures, parent) {
  if (parent.isConnected) return
  figures.get(parent)?.close()
  figures.delete(parent)
}
