// The page's own script: the address. gradio calls it once, when the page has loaded.
() => {
  // What the link said: the address itself is rewritten as soon as the first settings arrive.
  window.gendiffArrival = location.search;
  // Settings of the open tab -> ?tab=...&name=value, without a new entry in the history. In a Space
  // the page is a frame: its parent is told, too, as the Hub documents.
  window.gendiffAddress = (tab, names, values, opened) => {
    // A change in a tab that is not open (a default that arrives late) must not move the reader.
    const open = new URLSearchParams(location.search).get("tab");
    if (!opened && open && open !== tab) return;
    const query = new URLSearchParams({ tab });
    const theme = new URLSearchParams(location.search).get("__theme");
    if (theme) query.set("__theme", theme);
    names.forEach((name, index) => {
      const value = values[index];
      if (value !== null && value !== undefined && value !== "") query.set(name, value);
    });
    tell(query);
  };
  const tell = (query) => {
    history.replaceState(null, "", "?" + query);
    if (window.parent !== window) {
      window.parent.postMessage({ queryString: query.toString() }, "https://huggingface.co");
    }
  };
  // Where somebody rests on a frame of a player, the address names it: ?tab=denoise&step=7.
  document.addEventListener("gendiff-rest", ({ target, detail }) => {
    const query = new URLSearchParams(location.search), panel = target.closest("[role=tabpanel]")?.id ?? "";
    const tab = panel.replace(/^tab-/, "");
    if (!query.has("tab") && tab && detail.number !== null) query.set("tab", tab);
    if (query.get("tab") !== tab) return;
    if (detail.number === null) query.delete(detail.noun);
    else query.set(detail.noun, detail.number);
    tell(query);
  });
}
