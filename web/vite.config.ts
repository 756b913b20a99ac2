// Two scripts of one source, each self-contained: page.js for the server and the file, widget.js for notebooks.
//   vite build                  page.js and page.css
//   vite build --mode widget    widget.js, beside them
import { defineConfig } from "vite";

export default defineConfig(({ mode }) => {
  const widget = mode === "widget";
  return {
    build: {
      outDir: "../limelight/viewer/static",
      emptyOutDir: !widget,
      target: "es2022",
      lib: {
        entry: widget ? "src/widget.ts" : "src/page.ts",
        formats: [widget ? "es" : "iife"],
        name: "limelight",
        fileName: () => (widget ? "widget.js" : "page.js"),
        cssFileName: "page",
      },
      reportCompressedSize: false,
    },
  };
});
