// A WhatsApp account for Moked. Started by it, or beside it in a container of its own, with where to dial in and a token in
// the environment. It opens no port. stdout is for libraries that print; nothing of ours goes there.

import { Link } from "./link.mjs";
import { Session } from "./session.mjs";

const { BRIDGE_URL: url, BRIDGE_TOKEN: token } = process.env;
if (!url || !token) {
  process.stderr.write("BRIDGE_URL and BRIDGE_TOKEN must be set\n");
  process.exit(2);
}
delete process.env.BRIDGE_TOKEN;

const NAMES = ["connect", "disconnect", "logout", "send_text", "send_voice", "typing", "read", "download", "latest_version"];
const methods = {};
const link = new Link(url, token, methods);
const session = new Session(link);
for (const name of NAMES) methods[name] = (params, bytes) => session[name](params, bytes);

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    setTimeout(() => process.exit(0), 2000).unref();
    void session.disconnect().finally(() => process.exit(0));
  });
}
process.on("unhandledRejection", (error) => {
  process.stderr.write(`${error?.stack ?? error}\n`);
  process.exit(1);
});
link.open();
