const select = element.querySelector("select");

// Choices are [group, text, value]; those without a group stand by themselves.
function show() {
  element.querySelector("span").textContent = props.title;
  const groups = new Map([["", select]]);
  select.replaceChildren();
  for (const [group, text, value] of props.choices) {
    if (!groups.has(group)) {
      const made = document.createElement("optgroup");
      made.label = group;
      select.append(made);
      groups.set(group, made);
    }
    groups.get(group).append(new Option(text, value));
  }
  select.value = props.value;
  if (select.selectedIndex < 0) choose(0);
}

function choose(index) {
  select.selectedIndex = index;
  props.value = select.value;
}

select.addEventListener("change", () => {
  props.value = select.value;
  trigger("change");
});
watch(["value", "choices"], show);
show();
