// Type-ahead as an ARIA combobox with a list box: arrows move, Enter takes, Escape closes; typing is never blocked.
const PAUSE = 120; // milliseconds without a key before anything is asked

export function upgradeComboboxes(root) {
  for (const input of root.querySelectorAll("input[data-complete]")) new Combobox(input);
}

class Combobox {
  constructor(input) {
    this.input = input;
    this.number = 0; // of the last question, so that an answer that comes late is dropped
    this.active = -1;
    this.hits = [];
    const box = document.createElement("div");
    box.className = "combo";
    input.replaceWith(box);
    this.list = document.createElement("ul");
    this.list.id = `${input.id}-list`;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Titles");
    this.said = document.createElement("p");
    this.said.className = "sr";
    this.said.setAttribute("aria-live", "polite");
    box.append(input, this.list, this.said);
    const states = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id };
    for (const [name, value] of Object.entries(states)) input.setAttribute(name, value);
    input.addEventListener("input", () => this.ask());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.close());
    this.list.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays in the field
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]");
      if (option) this.take(Number(option.dataset.place));
    });
  }

  ask() {
    clearTimeout(this.timer);
    const text = this.input.value.trim();
    const number = ++this.number;
    if (text.length < 2) return this.close();
    this.timer = setTimeout(async () => {
      try {
        const adult = this.input.form?.elements.namedItem("adult")?.checked ? "&adult=1" : "";
        const response = await fetch(`/complete?q=${encodeURIComponent(text)}${adult}`, { headers: { Accept: "application/json" } });
        if (!response.ok || number !== this.number) return;
        this.show((await response.json()).hits);
      } catch {
        this.close(); // offline: what is typed is resolved when the form is sent
      }
    }, PAUSE);
  }

  show(hits) {
    this.hits = hits;
    this.active = -1;
    this.list.replaceChildren(...hits.map((hit, place) => this.draw(hit, place)));
    this.input.setAttribute("aria-expanded", String(hits.length > 0));
    this.input.removeAttribute("aria-activedescendant");
    this.said.textContent = hits.length === 1 ? "1 title" : `${hits.length} titles`;
  }

  draw(hit, place) {
    const option = document.createElement("li");
    option.id = `${this.list.id}-${place}`;
    option.dataset.place = String(place);
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    const name = document.createElement("span");
    name.textContent = hit.title;
    const facts = document.createElement("small");
    facts.textContent = hit.matched === hit.title ? hit.facts : `${hit.matched} · ${hit.facts}`;
    option.append(name, facts);
    return option;
  }

  press(event) {
    const open = this.hits.length > 0;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!open) return;
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.move((this.active + step + this.hits.length + (this.active < 0 && step < 0 ? 1 : 0)) % this.hits.length);
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.take(this.active);
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      this.close();
    }
  }

  move(place) {
    this.active = place;
    [...this.list.children].forEach((option, other) => option.setAttribute("aria-selected", String(other === place)));
    this.input.setAttribute("aria-activedescendant", `${this.list.id}-${place}`);
  }

  take(place) {
    const hit = this.hits[place];
    const form = this.input.form;
    this.close();
    if (this.input.dataset.complete === "favourite") {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = "f";
      field.value = String(hit.id);
      form.append(field);
      this.input.value = "";
    } else {
      this.input.value = hit.title;
    }
    form.requestSubmit();
  }

  close() {
    clearTimeout(this.timer);
    this.number += 1;
    this.hits = [];
    this.active = -1;
    this.list.replaceChildren();
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}
