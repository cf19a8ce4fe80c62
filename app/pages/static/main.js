// The pages work without any of this: forms and links do what they say. Here they do it without leaving the page.
import { upgradeComboboxes } from "./combobox.js";
import { upgradeForms } from "./forms.js";
import { startSwapping } from "./swap.js";

function upgrade(root) {
  upgradeComboboxes(root);
  upgradeForms(root);
}

upgrade(document);
startSwapping(upgrade);
