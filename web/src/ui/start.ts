// From a source to a page: ask what there is, then show it; say plainly what cannot be.

import { Pack } from "../sources/pack";
import { readAbout } from "../subject/about";
import type { Questions } from "../subject/questions";
import { App, type Frame } from "./app";
import { el, fill } from "./dom";

export async function start(frame: Frame, questions: Questions): Promise<App | null> {
  const { root } = frame;
  root.classList.add("limelight");
  fill(root, el("p", { class: "opening", role: "status" }, "Opening …"));
  try {
    const about = readAbout(await questions.about());
    if (questions.pack instanceof Pack) questions.pack.said = about.said || questions.pack.said;
    const app = new App(frame, about, questions);
    if (frame.server) frame.server.onProgress = (done, what) => app.progress(done, what);
    return app;
  } catch (error) {
    fill(
      root,
      el(
        "p",
        { class: "opening refusal", role: "alert" },
        `This page cannot be shown: ${error instanceof Error ? error.message : error}`,
      ),
    );
    console.error(error);
    return null;
  }
}
