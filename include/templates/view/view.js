// Within Airflow's page: its colours, and links to its own pages that it opens itself.
(() => {
  const airflow = window.parent;
  if (airflow === window) return;
  const page = airflow.document.documentElement;
  const follow = () => {
    document.documentElement.dataset.theme = page.classList.contains("dark") ? "dark" : "light";
  };
  follow();
  new MutationObserver(follow).observe(page, { attributeFilter: ["class"] });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    airflow.history.pushState({}, "", link.href);
    airflow.dispatchEvent(new PopStateEvent("popstate"));
  });
})();
