// The page in a notebook: one ES module for anywidget.

import { Notebook, type WidgetModel } from "./sources/notebook";
import { Remembering } from "./sources/source";
import { Questions } from "./subject/questions";
import { el, paint } from "./ui/dom";
import { start } from "./ui/start";

function render({ model, el: place }: { model: WidgetModel; el: HTMLElement }): () => void {
  const root = el("div", {});
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
