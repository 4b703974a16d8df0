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
    history.replaceState(null, "", "?" + query);
    if (window.parent !== window) {
      window.parent.postMessage({ queryString: query.toString() }, "https://huggingface.co");
    }
  };
}
