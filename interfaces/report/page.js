"use strict";
(() => {
  const documents = JSON.parse(document.getElementById("documents").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  // Bokeh draws on canvas, where style sheets do not reach: the page's colours are handed to its models.
  const repaint = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const [ink, muted, line, page] = ["--ink", "--muted", "--line", "--page"].map(colour);
    for (const model of Bokeh.documents.flatMap((shown) => shown.roots()).flatMap((root) => [...root.references()])) {
      if (model.type === "LinearAxis") {
        model.setv({
          axis_label_text_color: muted, major_label_text_color: muted, axis_line_color: line, major_tick_line_color: line,
        });
      } else if (model.type === "Grid") {
        model.setv({ grid_line_color: line });
      } else if (model.type === "Legend") {
        model.setv({ label_text_color: muted });
      } else if (model.type === "Span") {
        model.setv({ line_color: muted });
      } else if (model.type === "Text") {
        model.setv({ text_color: { value: ink }, background_fill_color: { value: page } });
      }
    }
  };

  const shown = documents.map((item, number) => Bokeh.embed.embed_item(item, `chart-${number}`));
  Promise.all(shown).then(repaint);
  dark.addEventListener("change", repaint);

  // On paper nothing can be unfolded.
  const unfolded = [];
  window.addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details:not([open])")) {
      each.open = true;
      unfolded.push(each);
    }
  });
  window.addEventListener("afterprint", () => {
    while (unfolded.length) unfolded.pop().open = false;
  });
})();
