// The page in a notebook: one ES module for anywidget.

import { Notebook, type WidgetModel } from "./sources/notebook";
import { Remembering } from "./sources/source";
import { Questions } from "./subject/questions";
import { el, paint } from "./ui/dom";
import { start } from "./ui/start";

function render({ model, el: place }: { model: WidgetModel; el: HTMLElement }): () => void {
  // A notebook has keys of its own; those pressed in the page belong to the page.
  const root = el("div", {
    "data-lm-suppress-shortcuts": "true",
    onkeydown: (event: Event) => event.stopPropagation(),
  });
  paint(root, { height: `${Number(model.get("height")) || 640}px` });
  place.append(root);
  const notebook = new Notebook(model);
  const started = start({ root, links: false }, new Questions(new Remembering(notebook)));
  return () => {
    notebook.close();
    void started.then((app) => app?.close());
  };
}

export default { render };
