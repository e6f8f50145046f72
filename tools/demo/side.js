// What models wrote goes through textContent: no HTML parser sees it.
const section = element.querySelector("section");

function show() {
  const view = props.value ?? {};
  for (const part of section.querySelectorAll("[data-part]")) {
    part.textContent = view[part.dataset.part] ?? "";
  }
  for (const block of section.querySelectorAll("[data-needs]")) {
    block.hidden = !view[block.dataset.needs];
  }
  section.querySelector(".verdict").dataset.status = view.status ?? "";
  const appears = section.hidden && view.model;
  section.hidden = !view.model;
  if (appears) section.scrollIntoView({ block: "nearest" });
}

watch("value", show);
show();
