() => {
  document.documentElement.lang = "en";
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelector("#stop").click();
  });
}
