// A file that is too large is said to be so before it is sent.

const input = document.querySelector("input[data-largest]");
const told = document.querySelector("#file-told");

function check(event) {
  const tooBig = (input.files[0]?.size ?? 0) > Number(input.dataset.largest);
  told.textContent = tooBig ? told.dataset.tooBig : "";
  told.classList.toggle("hidden", !tooBig);
  if (tooBig && event.type === "submit") event.preventDefault();
}

input.addEventListener("change", check);
input.form.addEventListener("submit", check);
