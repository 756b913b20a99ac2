// The page of the server and of the file: one classic script that draws into <div id="limelight">.

import "./style/page.css";
import { PACK, Pack } from "./sources/pack";
import { Served } from "./sources/served";
import { Remembering } from "./sources/source";
import { Questions } from "./subject/questions";
import { start } from "./ui/start";

const root = document.getElementById("limelight")!;
const packed = document.getElementById(PACK);

if (packed) {
  const pack = new Pack(packed.textContent ?? "");
  packed.remove(); // its letters are not needed twice
  void start({ root, links: true }, new Questions(new Remembering(pack), pack));
} else {
  const server = new Served();
  server.subject = new URLSearchParams(location.search).get("subject") ?? "";
  void start({ root, links: true, server }, new Questions(new Remembering(server)));
}
