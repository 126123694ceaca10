// Compiles the desk's style, and copies the fonts it names and the player's waveform, into the Python package.
import { execFileSync } from "node:child_process";
import { copyFileSync } from "node:fs";

const out = new URL("../src/moked/web/desk/static/", import.meta.url);
const fonts = new URL("./node_modules/@fontsource-variable/heebo/", import.meta.url);

execFileSync("node_modules/.bin/tailwindcss", ["-i", "desk.css", "-o", new URL("desk.css", out).pathname, "--minify"], {
  cwd: new URL(".", import.meta.url),
  stdio: "inherit",
});
for (const script of ["hebrew", "latin"]) {
  copyFileSync(new URL(`files/heebo-${script}-wght-normal.woff2`, fonts), new URL(`heebo-${script}.woff2`, out));
}
const wave = new URL("./node_modules/wavesurfer.js/", import.meta.url);
copyFileSync(new URL("dist/wavesurfer.esm.js", wave), new URL("wavesurfer.esm.js", out));
copyFileSync(new URL("LICENSE", wave), new URL("wavesurfer-LICENSE.txt", out));
copyFileSync(new URL("LICENSE", fonts), new URL("heebo-LICENSE.txt", out));
