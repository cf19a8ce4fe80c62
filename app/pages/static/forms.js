// Small things of the forms: numbers beside sliders, ratings that apply at once, files that are dropped.
export function upgradeForms(root) {
  for (const slider of root.querySelectorAll("input[data-output]")) {
    slider.addEventListener("input", () => {
      const output = root.querySelector(`output[for="${CSS.escape(slider.id)}"]`);
      if (output) output.textContent = slider.value;
    });
  }
  for (const select of root.querySelectorAll("select[data-submit]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const form of root.querySelectorAll("form:has(input[data-all])")) {
    // Every kind but music is the default, and needs no words in the address.
    form.addEventListener("formdata", (event) => {
      const kinds = [...form.querySelectorAll("input[data-all]")];
      if (kinds.every((kind) => kind.checked === (kind.value !== "Music"))) event.formData.delete("t");
      // What is empty or the default needs no words either.
      const defaults = { variety: "0", niche: "0", k: "10", algorithm: "ranker" };
      for (const [name, value] of [...event.formData]) {
        if (value === "" || defaults[name] === value) event.formData.delete(name);
      }
    });
  }
  for (const place of root.querySelectorAll("[data-drop]")) {
    const input = place.querySelector("input[type=file]");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      place.addEventListener(kind, (event) => {
        event.preventDefault();
        place.classList.toggle("over", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files.length) input.files = event.dataTransfer.files;
      });
    }
  }
}
