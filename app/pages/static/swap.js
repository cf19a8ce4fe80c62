// Forms and links marked `data-swap` fetch the next page and put its parts in place of the present ones; the address,
// the history and the focus follow, and one live region says what happened.
const PARTS = ["#main", ".foot"];
const KEEP_FOCUS = "[id]";

export function startSwapping(upgrade) {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-swap]");
    if (!form) return;
    event.preventDefault();
    const fields = new URLSearchParams(new FormData(form, event.submitter));
    if (form.method === "post") load(form.action, upgrade, { body: fields });
    else load(`${form.action.split("?")[0]}?${fields}`, upgrade);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap], .tabs a, a.chip, a.remove");
    if (!link || event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.origin !== location.origin || link.pathname !== location.pathname) return;
    event.preventDefault();
    load(link.href, upgrade);
  });
  addEventListener("popstate", () => load(location.href, upgrade, { push: false }));
}

async function load(address, upgrade, { body, push = true } = {}) {
  const place = document.activeElement?.matches(KEEP_FOCUS) ? document.activeElement.id : "";
  const card = document.activeElement?.closest(".card")?.parentElement;
  const row = card ? [...card.parentElement.children].indexOf(card) : -1;
  document.body.classList.add("busy");
  document.getElementById("answer")?.setAttribute("aria-busy", "true");
  try {
    const { page, url } = await fetchPage(address, body);
    if (push && url !== location.href) history.pushState(null, "", url);
    document.title = page.title;
    for (const part of PARTS) {
      const next = document.adoptNode(page.querySelector(part));
      document.querySelector(part).replaceWith(next);
      upgrade(next);
    }
    const said = page.getElementById("status").textContent.trim();
    say(said || describe());
    restoreFocus(place, row);
  } catch {
    say(navigator.onLine ? "That did not work; try again." : "You are offline; this is the list you had before.");
    document.getElementById("answer")?.removeAttribute("aria-busy");
  } finally {
    document.body.classList.remove("busy");
  }
}

// A request whose answer is a document: nothing in it is run, and no text is turned into markup here.
function fetchPage(address, body) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(body ? "POST" : "GET", address);
    request.responseType = "document";
    request.setRequestHeader("Accept", "text/html");
    if (body) request.setRequestHeader("Content-Type", "application/x-www-form-urlencoded");
    request.onload = () => {
      const page = request.response;
      if (page?.getElementById("main")) resolve({ page, url: request.responseURL });
      else reject(new Error(`no page at ${address}`));
    };
    request.onerror = () => reject(new Error(`no answer from ${address}`));
    request.send(body ? String(body) : null);
  });
}

function say(text) {
  document.getElementById("status").textContent = text;
}

function describe() {
  if (document.getElementById("trouble")) return "";
  const n = document.querySelectorAll(".cards > li > .card").length;
  return n ? `${n} titles, best first.` : "";
}

function restoreFocus(place, row) {
  const cards = document.querySelectorAll(".cards > li");
  const target =
    (row >= 0 && cards.length && cards[Math.min(row, cards.length - 1)].querySelector("h3 a")) ||
    (place && document.getElementById(place)) ||
    document.getElementById("answer-title") ||
    document.getElementById("main");
  target?.focus({ preventScroll: row < 0 });
}
