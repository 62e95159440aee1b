// Any Plotly figure that keeps its DOM node while its data change: no flicker, hover and zoom stay.
// assets.py puts plotly.js, with what both kinds of figure share, before this text.

const figures = new WeakMap()   // parentElement -> Figure

class Figure {
  constructor(parent) {
    this.root = parent.querySelector(".pd-figure")
    this.plot = this.root.querySelector(".pd-plot")
    this.observer = new ResizeObserver(() => {
      if (this.root.clientWidth !== this.width) this.render()
    })
    this.observer.observe(this.root)
  }

  take({ data, setTriggerValue }) {
    this.click = (chosen) => setTriggerValue("click", chosen)
    this.data = data
    this.render()
  }

  async render() {
    if (!this.data) return
    const theme = themeOf(this.root)
    const width = this.root.clientWidth
    const text = JSON.stringify([this.data, theme.name, width])
    if (text === this.shown || !width) return
    Object.assign(this, { shown: text, width })
    const Plotly = await loadPlotly()
    if (!this.root.isConnected || this.shown !== text) return
    const { spec, height, clickable, narrow } = this.data
    const layout = painted(structuredClone({ ...spec.layout, ...(width < 560 ? narrow : {}) }),
      theme.inks)
    layout.font = { size: 12, ...layout.font, family: theme.font || "sans-serif" }
    Object.assign(layout, { width, height: Math.min(height, Math.max(300, width)) })
    layout.hoverlabel = { bgcolor: theme.inks.ink, bordercolor: theme.inks.ink,
      font: { color: theme.inks.background } }
    this.root.style.height = `${layout.height}px`
    this.root.setAttribute("aria-label", spec.layout.meta?.label ?? "")
    this.root.toggleAttribute("data-clickable", Boolean(clickable))
    await Plotly.react(this.plot, painted(spec.data, theme.inks), layout,
      { displayModeBar: false, responsive: false, doubleClick: "reset" })
    if (!this.wired) {
      this.wired = true
      this.plot.on("plotly_click", ({ points, event }) => {
        const chosen = points[0]?.customdata
        if (!this.data.clickable || chosen === undefined) return
        const at = event?.timeStamp ?? performance.now()
        const again = this.last && at - this.last.at < 500
          && String(this.last.chosen) === String(chosen)
        this.last = { chosen, at }
        if (again && this.data.opens) this.open(chosen)
        else this.click(chosen)
      })
      // Two clicks within 0.3 s are one event of Plotly's own, two slower ones are two clicks.
      this.plot.on("plotly_doubleclick", () => {
        const known = this.last && performance.now() - this.last.at < 1500
        if (known && this.data.opens) this.open(this.last.chosen)
        return false
      })
    }
    Object.assign(this.root.dataset, { renders: Number(this.root.dataset.renders ?? 0) + 1,
      theme: theme.name, name: spec.layout.meta?.name ?? "" })
  }

  open([y, x]) {
    if (y === x) return
    const base = document.querySelector("base")?.href ?? location.origin + "/"
    const url = new URL(this.data.opens, base)
    url.searchParams.set("y", y.toUpperCase())
    url.searchParams.set("x", x.toUpperCase())
    location.assign(url)
  }

  close() {
    this.observer.disconnect()
    if (window.Plotly) window.Plotly.purge(this.plot)
  }
}

export default function (component) {
  dressed()
  kept(figures, component.parentElement, Figure).take(component)
  return () => ended(figures, component.parentElement)
}
