// Settings: hear a word as it is typed, and put the cursor on the line that is wrong.

for (const link of document.querySelectorAll("[data-listen]")) {
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    const [word, said] = link.closest("[data-pair]").querySelectorAll("input");
    const address = new URL(link.href);
    address.searchParams.set("said", said.value || word.value);
    const failed = document.querySelector("[data-failed]");
    failed.hidden = true;
    link.setAttribute("aria-busy", "true");
    try {
      if (said.value || word.value) await new Audio(address).play();
    } catch {
      failed.hidden = false;
    }
    link.removeAttribute("aria-busy");
  });
}

for (const area of document.querySelectorAll("textarea[data-line]")) {
  const lines = area.value.split("\n");
  const line = Math.min(Number(area.dataset.line), lines.length);
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(start, start + lines[line - 1].length);
  area.scrollTop = (area.scrollHeight / lines.length) * Math.max(0, line - 5);
}
