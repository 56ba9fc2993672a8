// The shell's own behaviour: the theme, shortcuts, and putting what is alive into its places.
(() => {
  const root = document.documentElement
  const dark = window.matchMedia("(prefers-color-scheme: dark)")
  const chosen = () => localStorage.getItem("study-theme")
  const show = () => { root.dataset.theme = chosen() || (dark.matches ? "dark" : "light") }
  show()
  dark.addEventListener("change", show)

  const toggle = () => {
    localStorage.setItem("study-theme", root.dataset.theme === "dark" ? "light" : "dark")
    show()
  }
  const typing = (event) => {
    const target = event.composedPath()[0]
    return target instanceof Element && (target.matches("input, textarea, select") || target.isContentEditable)
  }
  // What is alive lies in shadow trees, which a query from outside does not see into.
  const find = (selector, within = document) => {
    const found = within.querySelector(selector)
    if (found) return found
    for (const each of within.querySelectorAll("*")) {
      const inside = each.shadowRoot && find(selector, each.shadowRoot)
      if (inside) return inside
    }
    return null
  }

  const frame = () => new Promise(requestAnimationFrame)
  const linksIn = (within) => [
    ...within.querySelectorAll("link[rel=stylesheet]"),
    ...[...within.querySelectorAll("*")].flatMap((each) => (each.shadowRoot ? linksIn(each.shadowRoot) : [])),
  ]
  // Panel hides texts until the style sheets of their own shadow trees are there, which is after it says that it is done.
  // A style sheet that never comes is not waited for longer than this many frames.
  const drawn = async () => {
    for (const each of Bokeh.documents) {
      if (!each.is_idle) await new Promise((done) => each.idle.connect(done))
    }
    for (let looks = 0; looks < 600 && linksIn(document).some((link) => link.sheet === null); looks += 1) await frame()
    await frame()
    await frame()
  }

  document.addEventListener("DOMContentLoaded", () => {
    const shortcuts = document.getElementById("shortcuts")
    document.getElementById("theme")?.addEventListener("click", toggle)
    document.getElementById("keys")?.addEventListener("click", () => shortcuts.showModal())
    let led = false
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || shortcuts === null) return
      if (event.key === "Escape" && typing(event)) event.composedPath()[0].blur()
      if (typing(event) || shortcuts.open) return
      if (led) {
        led = false
        const view = document.querySelector(`nav.views a[data-key="${CSS.escape(event.key)}"]`)
        if (view) { event.preventDefault(); view.click() }
        return
      }
      const action = {
        g: () => { led = true; setTimeout(() => { led = false }, 1500) },
        "/": () => find("main input[type=search], .first textarea, .first input")?.focus(),
        t: () => document.getElementById("as_of").select(),
        d: toggle,
        "?": () => shortcuts.showModal(),
      }[event.key]
      if (action) { event.preventDefault(); action() }
    })
    for (const each of document.querySelectorAll("form[data-sends-on-change]")) {
      each.addEventListener("change", (event) => { if (event.target.matches("select")) each.requestSubmit() })
    }
    for (const each of document.querySelectorAll("time[datetime]")) {
      each.title = `${new Date(each.dateTime).toLocaleString()} here; ${each.dateTime}`
    }
    for (const each of document.querySelectorAll("[data-root]")) {  // of a graph that is wider than the screen
      const box = each.getBoundingClientRect()
      const within = each.closest(".scrolls")
      within.scrollLeft += box.left + box.width / 2 - within.getBoundingClientRect().left - within.clientWidth / 2
    }
    const live = document.getElementById("study-live")
    if (live) {
      const { items, address } = JSON.parse(live.textContent)
      const lost = document.getElementById("lost")
      Bokeh.embed.embed_items({}, items, address).then(async () => {
        for (const each of Bokeh.documents) {
          each.on_event("connection_lost", () => { lost.hidden = false })
          each.on_event("client_reconnected", () => { lost.hidden = true })
        }
        await drawn()
        root.dataset.live = "yes"
      }, () => { lost.hidden = false })
    }
  })
  // A form's empty fields need not stand in its address.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "get") return
    for (const each of event.target.elements) if (each.name && each.value === "") each.disabled = true
  })
  window.addEventListener("pageshow", () => {
    for (const each of document.querySelectorAll("form [disabled][name]")) each.disabled = false
  })
})()
