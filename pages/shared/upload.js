// Files to the server, streamed by the browser from its disk: two at a time, one bar a file.
// assets.py puts plotly.js, with what all components share, before this text.

const AT_ONCE = 2
const zones = new WeakMap()   // parentElement -> Zone
// Uploads outlive the zone: they go on while another page is shown.
const uploads = []
const shown = new Set()

class Upload {
  constructor(file, target) {
    Object.assign(this, { file, target, state: "waiting", sent: 0, words: "" })
  }

  async run() {
    this.state = "sending"
    try {
      await this.ask()
      await this.send()
      this.state = "done"
    } catch (error) {
      this.state = this.state === "cancelled" ? "cancelled" : "failed"
      this.words = error.message
    }
    settle(this)
  }

  url(extra = {}) {
    const base = document.querySelector("base")?.href ?? location.origin + "/"
    const url = new URL(this.target.url, base)
    for (const [k, v] of Object.entries({ name: this.file.name, ...extra })) url.searchParams.set(k, v)
    return url
  }

  // Asked first, because a browser that is refused in the middle of a body shows no answer.
  async ask() {
    const headers = { [this.target.header]: this.target.token }
    let answer
    try {
      answer = await fetch(this.url({ bytes: this.file.size }), { method: "POST", headers })
    } catch {
      throw new Error("The app cannot be reached: is it still running?")
    }
    if (!answer.ok) throw new Error(await refusal(() => answer.json(), answer.status))
  }

  send() {
    return new Promise((done, fail) => {
      const request = this.request = new XMLHttpRequest()
      request.open("PUT", this.url())
      request.setRequestHeader(this.target.header, this.target.token)
      request.setRequestHeader("Content-Type", "application/octet-stream")
      request.upload.onprogress = ({ loaded }) => {
        this.rate(loaded)
        redraw()
      }
      request.onload = async () => {
        if (request.status === 201) return done()
        fail(new Error(await refusal(() => JSON.parse(request.responseText), request.status)))
      }
      request.onerror = () => fail(new Error("The connection broke in the middle: try again"))
      request.onabort = () => fail(new Error("Cancelled"))
      request.send(this.file)
    })
  }

  rate(loaded) {
    const now = performance.now()
    this.begun ??= now
    this.sent = loaded
    this.speed = now - this.begun > 500 ? loaded / ((now - this.begun) / 1000) : 0
  }

  cancel() {
    if (this.state === "sending" && this.request) {
      this.state = "cancelled"
      this.request.abort()
    } else {
      forget(this)
    }
  }

  again() {
    Object.assign(this, { state: "waiting", sent: 0, words: "", begun: undefined })
    pump()
  }
}

async function refusal(read, status) {
  try {
    return (await read()).error
  } catch {
    return `The server refused it (${status})`
  }
}

function pump() {
  let busy = uploads.filter(({ state }) => state === "sending").length
  for (const one of uploads) {
    if (busy >= AT_ONCE) break
    if (one.state !== "waiting") continue
    busy += 1
    one.run()
  }
  redraw()
}

// What is whole belongs to the page's own list from now on; a failure stays until it is dismissed.
function settle(upload) {
  if (upload.state === "done" || upload.state === "cancelled") forget(upload)
  if (upload.state === "done") for (const zone of shown) zone.tell(upload)
  pump()
}

function forget(upload) {
  const at = uploads.indexOf(upload)
  if (at >= 0) uploads.splice(at, 1)
  redraw()
}

function redraw() {
  for (const zone of shown) zone.draw()
}

window.addEventListener("beforeunload", (event) => {
  if (uploads.some(({ state }) => state === "sending" || state === "waiting")) event.preventDefault()
})

function bytes(count) {
  for (const [size, unit] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (count >= size) return `${(count / size).toFixed(count >= 100 * size ? 0 : 1)} ${unit}`
  }
  return `${count} B`
}

// A dropped folder is walked; what a system hides in it (.DS_Store) is left out.
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)
  if (!entries.length) return [...transfer.files]
  const found = []
  for (const entry of entries) await walk(entry, found)
  return found.filter(({ name }) => !name.startsWith("."))
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((done, fail) => entry.file(done, fail)))
    return
  }
  const reader = entry.createReader()
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail))
    if (!some.length) return
    for (const one of some) await walk(one, found)
  }
}

class Zone {
  constructor(parent) {
    this.root = parent.querySelector(".pd-upload")
    this.drop = this.root.querySelector(".pd-drop")
    this.list = this.root.querySelector("ul")
    this.rows = new Map()
    this.input = this.root.querySelector("input")
    this.input.addEventListener("change", () => this.chosen())
    for (const kind of ["dragenter", "dragover"]) {
      this.drop.addEventListener(kind, (event) => {
        event.preventDefault()
        this.drop.classList.add("pd-over")
      })
    }
    for (const kind of ["dragleave", "drop"]) {
      this.drop.addEventListener(kind, () => this.drop.classList.remove("pd-over"))
    }
    this.drop.addEventListener("drop", async (event) => {
      event.preventDefault()
      this.receive(await dropped(event.dataTransfer))
    })
    shown.add(this)
  }

  take({ data, setTriggerValue }) {
    this.target = { url: data.url, header: data.header, token: data.token }
    this.report = (value) => setTriggerValue("arrived", value)
    this.root.querySelector("small").textContent = data.words
    // A token that the app renewed serves what waits, too.
    for (const one of uploads) if (one.state !== "sending") one.target = this.target
    this.chosen()   // before this script was there
    this.draw()
  }

  chosen() {
    const files = [...this.input.files]
    this.input.value = ""
    if (files.length) this.receive(files)
  }

  receive(files) {
    for (const file of files) uploads.push(new Upload(file, this.target))
    pump()
  }

  // Several files that arrive in one moment are one refresh of the page.
  tell() {
    this.arrived = (this.arrived ?? 0) + 1
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.report(`${Date.now()} ${this.arrived}`), 250)
  }

  draw() {
    this.root.dataset.waiting = uploads.length
    for (const [upload, row] of this.rows) {
      if (uploads.includes(upload)) continue
      row.remove()
      this.rows.delete(upload)
    }
    for (const upload of uploads) {
      if (!this.rows.has(upload)) this.rows.set(upload, this.row(upload))
      this.fill(this.rows.get(upload), upload)
    }
  }

  row(upload) {
    const row = document.createElement("li")
    row.innerHTML = '<b></b><i></i><span role="progressbar" aria-valuemin="0" aria-valuemax="100">' +
      '<s></s></span><button type="button" class="pd-again">Try again</button>' +
      '<button type="button" class="pd-cancel">✕</button>'
    row.querySelector("b").textContent = upload.file.name
    row.querySelector("[role]").setAttribute("aria-label", upload.file.name)
    row.querySelector(".pd-cancel").setAttribute("aria-label", `Cancel ${upload.file.name}`)
    row.querySelector(".pd-cancel").addEventListener("click", () => upload.cancel())
    row.querySelector(".pd-again").addEventListener("click", () => upload.again())
    this.list.append(row)
    return row
  }

  fill(row, upload) {
    const size = upload.file.size
    const share = size ? Math.min(100, 100 * upload.sent / size) : 0
    row.dataset.state = upload.state
    row.querySelector("s").style.width = `${share}%`
    row.querySelector("[role]").setAttribute("aria-valuenow", Math.round(share))
    row.querySelector("i").textContent = {
      failed: upload.words,
      waiting: `${bytes(size)} · waiting`,
    }[upload.state] ?? `${bytes(upload.sent)} of ${bytes(size)}` +
      (upload.speed ? ` · ${bytes(upload.speed)}/s` : "")
  }

  close() {
    shown.delete(this)
  }
}

export default function (component) {
  dressed()
  kept(zones, component.parentElement, Zone).take(component)
  return () => ended(zones, component.parentElement)
}
